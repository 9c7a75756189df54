"""What a run of the recipe ends with, on made-up results."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from summary import main

from tests.report.spaces import SPACE, experiment, history


def trained(path: Path, wer: float, conf: dict, encoder: str = "stnas") -> Path:
    """A training with a score that has an interval, from 1 below to 2 above."""
    (path / "decode_test").mkdir(parents=True)
    config = {"encoder": encoder, "encoder_conf": conf}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    score = {"wer": wer, "cer": 2.5, "wer_low": wer - 1, "wer_high": wer + 2}
    (path / "decode_test" / "score.yaml").write_text(yaml.safe_dump(score))
    return path


def architecture(*indices: int) -> dict:
    return SPACE.resolve(list(indices)).to_conf()


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    """A search of three epochs, the first of which is warm-up, and its training."""
    experiment(tmp_path / "search")
    history()[-1].write(tmp_path / "architecture.yaml")
    derived = trained(tmp_path / "derived", 5.25, architecture(1, 0, 1, 2))
    (tmp_path / "search" / "train_seconds").write_text("100\n23\n")
    (derived / "train_seconds").write_text("61\n")
    (derived / "decode_test_seconds").write_text("7\n")
    return tmp_path


def summary(exp: Path, capsys: pytest.CaptureFixture[str], *names: str) -> dict:
    main([str(exp), *(str(exp / name) for name in names)])
    lines = capsys.readouterr().out.splitlines()[1:]
    return dict(line.strip().split("  ", 1) for line in lines)


def test_another_budget_has_files_of_its_own(
    exp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (exp / "architecture.yaml").rename(exp / "architecture_none.yaml")
    main([str(exp), str(exp / "derived"), "--suffix", "_none"])
    printed = capsys.readouterr().out
    assert f"36 architectures: {exp}/architecture_none.yaml" in printed
    assert f"{exp}/report_none/report.html" in printed


def test_what_a_person_wants(exp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baselines = exp / "baselines"
    # The second candidate of the first choices, the first of the others are largest.
    trained(baselines / "big", 6.0, architecture(1, 1, 0, 0))
    trained(baselines / "small", 4.0, architecture(0, 0, 2, 2))
    trained(baselines / "conformer", 7.0, {"output_size": 4}, encoder="conformer")
    names = ("derived", "baselines/big", "baselines/small", "baselines/conformer")
    found = summary(exp, capsys, *names)
    assert found["search"] == f"one of 36 architectures: {exp}/architecture.yaml"
    assert found["decided"].startswith("4 choices, ")
    assert "of them the same over the last 2 epochs" in found["decided"]
    # As in the history: .3 and .7 for the first two, .5 and .25 for the others.
    assert "margins -0.40 to 0.40" in found["decided"]
    assert found["errors"] == "WER 5.25 % (95 % interval 4.25 to 7.25), CER 2.5 %"
    assert found["largest"] == "WER 6.00 % (95 % interval 5.00 to 8.00) (big)"
    assert found["ESPnet's"] == "WER 7.00 % (95 % interval 6.00 to 9.00) (conformer)"
    assert found["all"] == f"{exp}/report/table.md"
    assert found["report"] == f"{exp}/report/report.html"
    assert (
        found["time"]
        == "3 min 11 s: search 2 min 3 s in 2 starts, training 1 min 1 s, decoding 7 s"
    )


def test_what_was_not_trained_is_said(
    exp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = summary(exp, capsys, "derived")
    assert found["largest"] == "not trained; --baselines hand,espnet does"
    assert found["ESPnet's"] == found["largest"]
    assert "all" not in found


def test_doubts_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first two choices have .5 and .5 after the fifth epoch."""
    experiment(tmp_path / "search", epochs=5, max_epoch=5)
    history()[-1].write(tmp_path / "architecture.yaml")
    found = summary(tmp_path, capsys)
    assert "layer 2 has not moved from uniform" in found["doubts"]
    assert "errors" not in found
