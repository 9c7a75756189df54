#!/usr/bin/env bash
# Make a virtual environment with this package and its extras, once. Sourced by the
# scripts beside it; sets VENV.
#   PYTHON  interpreter to use (python3; 3.10 to 3.13)
#   VENV    where to put it (.venv in the checkout)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=${PYTHON:-python3}
VENV=${VENV:-${root}/.venv}

setup_venv() {
    local extras=$1 stamp
    if ! "${PYTHON}" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))'
    then
        echo "error: ${PYTHON} is not a Python of version 3.10 to 3.13;" \
            "name one with PYTHON=..." >&2
        return 1
    fi
    stamp=${VENV}/.installed-${extras}
    # What is installed may have changed with the checkout.
    if [ -e "${stamp}" ] && [ "${stamp}" -nt "${root}/setup.py" ]; then
        return 0
    fi
    echo "Installing into ${VENV}; this takes some minutes the first time."
    "${PYTHON}" -m venv "${VENV}"
    "${VENV}/bin/python" -m pip install --quiet --progress-bar off \
        -e "${root}[${extras}]"
    touch "${stamp}"
}
