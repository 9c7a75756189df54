#!/usr/bin/env bash
# The WSJ and Switchboard recipes from after data preparation to packing, through
# ESPnet's own asr.sh, on digits in the corpora's names and layout.
#
#   ESPNET_ROOT=/path/to/espnet tests/integration/run_stand_in.sh wsj WORKDIR
#   ESPNET_ROOT=/path/to/espnet tests/integration/run_stand_in.sh swbd WORKDIR [--arch FILE]
#   ... WORKDIR --criterion ctc_crf --units phn --lexicon data/lexicon.txt \
#       --word_lm data/word_lm.arpa
#
# Needs sox and sctk (hubscr.pl in ${ESPNET_ROOT}/tools/sctk/bin for swbd), an
# environment with espnet_stnas, and FSDD_DIR, the Free Spoken Digit Dataset (default:
# ../shared/data/fsdd beside this repository). What follows WORKDIR goes to run.sh.
set -euo pipefail

[ -n "${ESPNET_ROOT:-}" ] || {
    echo "$0: error: ESPNET_ROOT is not set; accepted is an ESPnet checkout" >&2
    exit 1
}
recipe=${1:?give wsj or swbd}
work=${2:?give a directory to work in}
shift 2
root=$(cd "$(dirname "$0")/../.." && pwd)
fsdd=${FSDD_DIR:-${root}/../shared/data/fsdd}
mkdir -p "${work}"
work=$(cd "${work}" && pwd)

if [ ! -d "${work}/digits/test" ]; then
    python3 "${root}/egs2/digits/asr_stnas1/local/make_digits.py" --corpus fsdd --fsdd_dir "${fsdd}" \
        --data "${work}/digits" --train_minutes 12 --dev_minutes 1 --test_minutes 1
fi
# A copy, so that the repository stays as it is.
mkdir -p "${work}/egs2/${recipe}"
cp -rn "${root}/egs2/TEMPLATE" "${work}/egs2/" 2> /dev/null || true
cp -rn "${root}/egs2/${recipe}/asr_stnas1" "${work}/egs2/${recipe}/" 2> /dev/null || true
cd "${work}/egs2/${recipe}/asr_stnas1"
[ -d data ] || python3 "${root}/tests/integration/stand_in.py" --recipe "${recipe}" \
    --digits "${work}/digits" --output data

small="--num_workers 1 --batch_size 16 --log_interval 20"
lm="--max_epoch 2 --lm_conf layer=1 --lm_conf unit=64 --lm_conf att_unit=64"
lm+=" --lm_conf head=2 --batch_bins 20000 --num_workers 1 --accum_grad 1"
lm+=" --scheduler_conf warmup_steps=50"
wide="--encoder_conf width=48 --encoder_conf dropout_rate=0.1"
wide+=" --encoder_conf residual=true"
./run.sh --stage 2 --stop_stage 16 --ngpu 0 --nj 2 --inference_nj 2 --nbpe 22 \
    --lm_tag small --lm_args "${lm}" --inference_tag decode_small \
    --inference_args "--beam_size 4 --lm_weight 0.1" \
    --search_args "${wide} ${small} --max_epoch 8 --warmup_epochs 3 --optim_conf lr=0.004" \
    --train_args "${wide} ${small} --max_epoch 12 --optim_conf lr=0.004" "$@"
