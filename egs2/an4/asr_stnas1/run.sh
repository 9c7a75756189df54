#!/usr/bin/env bash
# AN4: search, derive, retrain, decode and score with ESPnet's asr.sh. The corpus is
# downloaded.
set -euo pipefail
cd "$(dirname "$0")"

# Paths are this directory's; --help lists stages and options.
./stnas.sh \
    --espnet_recipe an4/asr1 \
    --programs sph2pipe \
    --default_budget params=85% \
    --lang en \
    --token_type bpe \
    --nbpe 30 \
    --speed_perturb_factors "0.9 1.0 1.1" \
    --use_lm false \
    --inference_config conf/decode.yaml \
    --inference_asr_model valid.loss.ave.pth \
    --train_set train_nodev \
    --valid_set train_dev \
    --test_sets "train_dev test" \
    --bpe_train_text data/train_nodev/text \
    "$@"
