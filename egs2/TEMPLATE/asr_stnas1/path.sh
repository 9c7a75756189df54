# Sourced by stnas.sh, and by ESPnet's scripts in the recipe's directory.
# shellcheck shell=bash disable=SC1091
if [ -z "${ESPNET_ROOT:-}" ]; then
    echo "path.sh: error: ESPNET_ROOT is not set; accepted is the directory of an" \
        "ESPnet checkout: export ESPNET_ROOT=/path/to/espnet" >&2
    exit 1
fi
if [ ! -f "${ESPNET_ROOT}/egs2/TEMPLATE/asr1/asr.sh" ]; then
    echo "path.sh: error: ESPNET_ROOT is '${ESPNET_ROOT}', which has no" \
        "egs2/TEMPLATE/asr1/asr.sh; accepted is the directory of an ESPnet checkout" >&2
    exit 1
fi
export MAIN_ROOT=${ESPNET_ROOT}
export PATH=${PWD}/utils:${PATH}:${ESPNET_ROOT}/utils
# An environment that is active already is the one espnet_stnas was installed in.
if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] \
    && [ -f "${MAIN_ROOT}/tools/activate_python.sh" ]; then
    . "${MAIN_ROOT}/tools/activate_python.sh"
fi
# It reads variables that need not be set.
case $- in
    *u*) set +u; . "${MAIN_ROOT}/tools/extra_path.sh"; set -u ;;
    *) . "${MAIN_ROOT}/tools/extra_path.sh" ;;
esac
# Debian's packages put sctk here.
if [ -d /usr/lib/sctk/bin ]; then
    export PATH=${PATH}:/usr/lib/sctk/bin
fi
export LC_ALL=C
export PYTHONIOENCODING=UTF-8
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
