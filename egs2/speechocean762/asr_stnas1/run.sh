#!/usr/bin/env bash
# speechocean762: search, derive, retrain, decode and score with ESPnet's asr.sh, with
# phones. The corpus is downloaded unless SPEECHOCEAN762 says where it is.
set -euo pipefail
cd "$(dirname "$0")"

# Phones are the words of sets of their own, so that word error rates are of phones.
# Paths are this directory's; --help lists stages and options.
./stnas.sh \
    --default_budget params=85% \
    --lang en \
    --token_type word \
    --speed_perturb_factors "0.9 1.0 1.1" \
    --use_lm false \
    --inference_config conf/decode.yaml \
    --inference_asr_model valid.loss.ave.pth \
    --train_set train_phones \
    --valid_set dev_phones \
    --test_sets "dev_phones test_phones" \
    --bpe_train_text data/train/text \
    "$@"
