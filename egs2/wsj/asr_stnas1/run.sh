#!/usr/bin/env bash
# Wall Street Journal: search, derive, retrain, decode and score with ESPnet's asr.sh.
set -euo pipefail
cd "$(dirname "$0")"

# Paths are this directory's; --help lists stages and options.
./stnas.sh \
    --espnet_recipe wsj/asr1 \
    --corpus "WSJ0 WSJ1" \
    --programs sph2pipe \
    --lang en \
    --token_type char \
    --nbpe 80 \
    --nlsyms_txt data/nlsyms.txt \
    --speed_perturb_factors "0.9 1.0 1.1" \
    --use_lm true \
    --lm_config conf/train_lm.yaml \
    --inference_config conf/decode.yaml \
    --inference_asr_model valid.loss.ave.pth \
    --train_set train_si284 \
    --valid_set test_dev93 \
    --test_sets "test_dev93 test_eval92" \
    --bpe_train_text data/train_si284/text \
    --lm_train_text "data/train_si284/text data/local/other_text/text" \
    "$@"
