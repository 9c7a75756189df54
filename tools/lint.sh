#!/usr/bin/env bash
# Run all linters, in the environment that run_tests.sh made.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/setup_venv.sh"
setup_venv test
cd "${root}"
PATH=${VENV}/bin:${PATH}
export PATH
ruff check .
ruff format --check .
mypy
git ls-files -z '*.sh' '.ci/run' | xargs -0 shellcheck -x
md-dead-link-check
# The site of the documentation; any warning is an error.
site=$(mktemp -d)
trap 'rm -r "${site}"' EXIT
NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet --site-dir "${site}"
