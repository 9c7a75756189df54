#!/usr/bin/env bash
# Switchboard: search, derive, retrain, decode and score with ESPnet's asr.sh.
set -euo pipefail
cd "$(dirname "$0")"

# Paths are this directory's; --help lists stages and options.
./stnas.sh \
    --espnet_recipe swbd/asr1 \
    --corpus SWBD \
    --programs sph2pipe \
    --lang en \
    --token_type bpe \
    --nbpe 2000 \
    --audio_format flac.ark \
    --speed_perturb_factors "1.1 0.9 1.0" \
    --use_lm true \
    --lm_config conf/train_lm.yaml \
    --inference_config conf/decode.yaml \
    --inference_asr_model valid.loss.ave.pth \
    --train_set train_nodup \
    --valid_set train_dev \
    --test_sets eval2000 \
    --bpe_train_text data/train_nodup/text \
    --lm_train_text data/train_nodup/text \
    --score_opts -s \
    "$@"
