#!/usr/bin/env bash
# Set up everything, then search, derive, retrain, decode and score on connected digits.
# Options are those of egs2/digits/asr_stnas1/run.sh.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/setup_venv.sh"
recipe=${root}/egs2/digits/asr_stnas1/run.sh
case " $* " in
    *" --help "*|*" -h "*) exec "${recipe}" --help ;;
esac
setup_venv demo
PATH=${VENV}/bin:${PATH}
export PATH
exec "${recipe}" "$@"
