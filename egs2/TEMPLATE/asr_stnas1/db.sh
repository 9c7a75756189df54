# Where corpora are: as in the environment (export WSJ0=/path), or else in ESPnet's db.sh.
# shellcheck shell=bash disable=SC2034,SC1091
given_wsj0=${WSJ0:-} given_wsj1=${WSJ1:-} given_swbd=${SWBD:-}
. "${ESPNET_ROOT}/egs2/TEMPLATE/asr1/db.sh"
WSJ0=${given_wsj0:-${WSJ0:-}}
WSJ1=${given_wsj1:-${WSJ1:-}}
SWBD=${given_swbd:-${SWBD:-}}
