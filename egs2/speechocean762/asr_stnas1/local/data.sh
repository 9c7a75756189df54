#!/usr/bin/env bash
# Stage 1: the corpus, downloaded unless SPEECHOCEAN762 says where it is, into data/.
set -euo pipefail

# shellcheck disable=SC1091
. ./db.sh
python3 local/make_data.py "${SPEECHOCEAN762:-downloads/speechocean762}" data \
    "$([ -n "${SPEECHOCEAN762:-}" ] && echo --no-download || echo --download)"
