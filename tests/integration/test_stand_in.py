"""Both recipes through ESPnet's asr.sh: only where ESPNET_ROOT names a checkout.

With the units of the recipes and CTC, and with phones and CTC-CRF.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DIGITS = HERE.parents[2] / "shared" / "data" / "fsdd"
LARGEST = HERE.parents[1] / "conf" / "architecture" / "tdnn_largest.yaml"
PHONES = (
    *("--criterion", "ctc_crf", "--units", "phn", "--lexicon", "data/lexicon.txt"),
    *("--word_lm", "data/word_lm.arpa", "--inference_tag", ""),
)


@pytest.mark.slow
@pytest.mark.skipif("ESPNET_ROOT" not in os.environ, reason="ESPNET_ROOT is not set")
@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("wsj", ()),
        ("swbd", ()),
        ("wsj", PHONES),
        ("swbd", (*PHONES, "--arch", str(LARGEST))),
    ],
)
def test_stages_from_speed_perturbation_to_packing(recipe, options, tmp_path):
    if not DIGITS.is_dir() and "FSDD_DIR" not in os.environ:
        pytest.skip("there are no digits at ../shared/data/fsdd nor at FSDD_DIR")
    command = ["bash", str(HERE / "run_stand_in.sh"), recipe, str(tmp_path), *options]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(command, check=True, env={**os.environ, "PATH": path})
    exp = tmp_path / "egs2" / recipe / "asr_stnas1" / "exp"
    (results,) = exp.glob("asr_*/RESULTS.md")
    assert "test_eval92" in results.read_text() or "eval2000" in results.read_text()
    assert ("decode_lexicon_word_lm_" in results.read_text()) == bool(options)
    assert list(exp.glob("asr_*/*.zip"))
    # Written by stage 12 without it, and by stage 15 with it.
    tables = [path.read_text() for path in exp.glob("derived_*/report/table.md")]
    assert ["WER" in table for table in tables] == [True] * ("--arch" not in options)
