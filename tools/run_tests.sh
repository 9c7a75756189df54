#!/usr/bin/env bash
# Set up everything, then run the tests. Options are those of pytest.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/setup_venv.sh"
setup_venv test
cd "${root}"
exec "${VENV}/bin/python" -m pytest "$@"
