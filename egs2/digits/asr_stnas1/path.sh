# shellcheck shell=bash
# Sourced by run.sh: where Python and the package are. Nothing else is needed: no Kaldi
# and no ESPnet checkout.
export PYTHONIOENCODING=UTF-8
# Work in a checkout also when the package is not installed.
if [ -e ../../../espnet_stnas/run.py ]; then
    PYTHONPATH="$(cd ../../.. && pwd)${PYTHONPATH:+:${PYTHONPATH}}"
    export PYTHONPATH
fi
# Networks of this size gain nothing from several threads, and suffer from other load.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
