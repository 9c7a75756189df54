# Where corpora are: as in the environment (export WSJ0=/path), or else in ESPnet's db.sh.
# shellcheck shell=bash disable=SC1091
names="WSJ0 WSJ1 SWBD LIBRISPEECH SPEECHOCEAN762"
for name in ${names}; do
    printf -v "given_${name}" '%s' "${!name:-}"
done
. "${ESPNET_ROOT}/egs2/TEMPLATE/asr1/db.sh"
for name in ${names}; do
    given=given_${name}
    printf -v "${name}" '%s' "${!given:-${!name:-}}"
done
