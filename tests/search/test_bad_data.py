"""Searches on data as it should not be: empty transcripts, utterances of no length."""

from __future__ import annotations

import math
import shutil

import pytest
import soundfile
import torch

from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.search import program
from tests.search.conftest import CHOICE, command, search_config

RATE = 8000
CONV2D = ["conv2d-S4", CHOICE, CHOICE[:2]]
TDNN = ["tdnn-C1S3D1", CHOICE, CHOICE[:2]]


@pytest.fixture
def data(corpus, tmp_path):
    """A copy of the tables of the corpus, to be changed."""
    for name in ("train", "dev"):
        (tmp_path / name).mkdir()
        for file in ("wav.scp", "text", "shape"):
            shutil.copy(corpus / name / file, tmp_path / name)
    shutil.copy(corpus / "tokens.txt", tmp_path)
    return tmp_path


def empty_texts(data, *, every: int) -> None:
    """Leave every so many utterances without words."""
    for name in ("train", "dev"):
        lines = (data / name / "text").read_text().splitlines()
        lines = [
            line.split()[0] + " " if n % every == 0 else line
            for n, line in enumerate(lines)
        ]
        (data / name / "text").write_text("\n".join(lines) + "\n")


def shorten(data, samples: int, *, every: int) -> None:
    """Cut every so many utterances to a few samples."""
    for name in ("train", "dev"):
        rows = [
            line.split() for line in (data / name / "wav.scp").read_text().splitlines()
        ]
        sizes = dict(
            line.split() for line in (data / name / "shape").read_text().splitlines()
        )
        for utterance, path in rows[::every]:
            short = data / name / f"{utterance}.wav"
            wav, _ = soundfile.read(path)
            soundfile.write(short, wav[:samples], RATE)
            sizes[utterance] = str(samples)
            rows[rows.index([utterance, path])] = [utterance, str(short)]
        (data / name / "wav.scp").write_text("".join(f"{u} {p}\n" for u, p in rows))
        (data / name / "shape").write_text(
            "".join(f"{u} {s}\n" for u, s in sizes.items())
        )


def search(data, **changes) -> dict:
    """Run a search; returns what it reports of the training in epoch 2."""
    config = search_config(**{"max_epoch": 2, **changes})
    program.main(command(data, data / "exp", config))
    assert SearchExperiment.open(data / "exp").epochs == (1, 2)
    checkpoint = torch.load(data / "exp" / "checkpoint.pth", weights_only=True)
    return checkpoint["reporter"]["stats"][2]["train"]


ATTENTION = {
    "model_conf": {"ctc_weight": 0.3},
    "decoder": "transformer",
    "decoder_conf": {"linear_units": 4, "num_blocks": 1, "attention_heads": 2},
}


@pytest.mark.parametrize("changes", [{}, ATTENTION], ids=["ctc", "attention"])
def test_a_search_goes_on_with_empty_transcripts(data, changes):
    empty_texts(data, every=3)
    stats = search(data, **changes)
    assert math.isfinite(stats["loss"])
    assert math.isfinite(stats["arch_loss"])
    assert stats["arch_skipped"] == 0


def test_no_transcript_at_all(data):
    """ESPnet trains, but divides by zero when it counts the errors of a decoder."""
    empty_texts(data, every=1)
    assert math.isfinite(search(data)["arch_loss"])
    shutil.rmtree(data / "exp")
    with pytest.raises(
        SystemExit, match="error: a batch of the validation set has only empty transcr"
    ):
        search(data, **ATTENTION)


@pytest.mark.parametrize("samples", [1, 80, 400], ids="{}samples".format)
@pytest.mark.parametrize("layers", [CONV2D, TDNN], ids=["conv2d", "tdnn"])
def test_a_search_goes_on_with_short_utterances(data, layers, samples):
    """1 to 5 frames: shorter than their text, than the window, than the subsampling."""
    shorten(data, samples, every=3)
    stats = search(data, encoder_conf={"layers": layers, "width": 6})
    assert math.isfinite(stats["loss"])
    assert math.isfinite(stats["arch_loss"])
    assert stats["arch_skipped"] == 0


def test_no_utterance_survives_the_subsampling(data):
    shorten(data, 400, every=1)
    with pytest.raises(
        SystemExit,
        match="error: 6 frames are too few for the operation 'conv2d-S4'; accepted are",
    ):
        search(data, encoder_conf={"layers": CONV2D, "width": 6})


def remove_wav(data, part: str) -> str:
    """Take a recording away; its path."""
    rows = (data / part / "wav.scp").read_text().splitlines()
    name = rows[-1].split()[0]
    gone = f"{data}/{part}/gone.wav"
    (data / part / "wav.scp").write_text("\n".join([*rows[:-1], f"{name} {gone}\n"]))
    return f"utterance '{name}' of {data}/{part}/wav.scp cannot be read .*'{gone}'"


def remove_text(data, part: str) -> str:
    """Take a transcript away; what the message says."""
    lines = (data / part / "text").read_text().splitlines()
    (data / part / "text").write_text("\n".join(lines[:-1]) + "\n")
    name = lines[-1].split()[0]
    return f"utterance '{name}' of {data}/{part}/text cannot be read .KeyError"


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("damage", "part"), [(remove_wav, "train"), (remove_text, "dev")]
)
def test_what_cannot_be_read_is_named(data, damage, part, workers):
    problem = damage(data, part)
    with pytest.raises(SystemExit, match=f"^error: {problem}") as refused:
        search(data, num_workers=workers, warmup_epochs=0)
    assert "Traceback" not in str(refused.value)
