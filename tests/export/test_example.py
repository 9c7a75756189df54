"""The example decodes with onnxruntime and numpy alone."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import ROOT

EXAMPLE = ROOT / "examples" / "decode_onnx.py"
ALONE = f"""
import runpy, sys
sys.path = [p for p in sys.path if p not in ("", {str(ROOT)!r})]
runpy.run_path(sys.argv.pop(1), run_name="__main__")
assert not {{"torch", "espnet2", "espnet_stnas", "onnx"}} & sys.modules.keys()
"""


def run(*words: object, example: Path = EXAMPLE) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", ALONE, str(example), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_example_hears_what_the_model_hears(trained, onnx_file, speech):
    from tests.export.test_export import expected_of

    _, path = (speech / "dev" / "wav.scp").read_text().split("\n")[0].split()
    best = expected_of(trained[1], soundfile.read(path)[0]).argmax(1).tolist()
    letters = [trained[1].token_list[k] for k, _ in groupby(best) if k]
    result = run(onnx_file, path)
    assert result.stderr == "" and letters
    assert result.stdout == f"{path}: {''.join(letters)}\n"


def test_what_the_example_refuses(onnx_file, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((100, 2)), 16000)
    result = run(onnx_file, tmp_path / "a.wav")
    assert result.returncode == 1 and "takes 8000 Hz, 16 bits and" in result.stderr
    assert run(onnx_file).stderr.startswith("usage: decode_onnx.py MODEL.onnx")


@pytest.mark.parametrize(
    ("kind", "tokens", "text"),
    [
        ("char", ["<blank>", "h", "i", "<space>"], "hi hi"),
        ("bpe", ["<blank>", "▁hi", "gh", "▁a"], "high a high"),
        ("word", ["<blank>", "one", "two", "x"], "one two x one two"),
    ],
)
def test_texts_of_tokens(kind, tokens, text):
    from examples.decode_onnx import text_of

    best = [0, 1, 1, 0, 2, 3, 3, 1, 2, 0]
    log_probs = np.log(np.eye(4)[best] + 0.1)
    metadata = {"tokens": json.dumps(tokens), "blank": "0", "token_type": kind}
    assert text_of(log_probs, metadata) == text
