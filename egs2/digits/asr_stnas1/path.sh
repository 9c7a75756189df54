# shellcheck shell=bash
# Sourced by run.sh: where Python and the package are. Nothing else is needed: no Kaldi
# and no ESPnet checkout.
export PYTHONIOENCODING=UTF-8
# Work in a checkout also when the package is not installed.
PYTHONPATH="$(cd ../../.. && pwd)${PYTHONPATH:+:${PYTHONPATH}}"
export PYTHONPATH
