#!/usr/bin/env bash
# LibriSpeech, 100 hours: search, derive, retrain, decode and score with ESPnet's asr.sh.
# The corpus is downloaded unless LIBRISPEECH says where it is.
set -euo pipefail
cd "$(dirname "$0")"

# Stage 4 of ESPnet's local/data.sh downloads text for a language model, which is not used.
# Paths are this directory's; --help lists stages and options.
./stnas.sh \
    --espnet_recipe librispeech_100/asr1 \
    --programs flac \
    --local_data_opts "--stop_stage 3" \
    --default_budget params=85% \
    --lang en \
    --token_type bpe \
    --nbpe 300 \
    --max_wav_duration 30 \
    --audio_format flac.ark \
    --speed_perturb_factors "0.9 1.0 1.1" \
    --use_lm false \
    --inference_config conf/decode.yaml \
    --inference_asr_model valid.loss.ave.pth \
    --train_set train_clean_100 \
    --valid_set dev \
    --test_sets "test_clean test_other dev_clean dev_other" \
    --bpe_train_text data/train_clean_100/text \
    "$@"
