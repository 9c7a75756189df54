"""The table of benchmarks/criteria.py, on made-up error rates."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

pytest.importorskip("jiwer")


@pytest.fixture
def criteria(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("criteria")


class Made:
    """Errors of a set by word score, the same for all models."""

    RATES = {
        "dev": {0.0: 9.0, -1.0: 7.0, -2.0: 7.0, 2.0: 8.0},
        "test": {0.0: 5.0, -1.0: 4.0, -2.0: 3.0, 2.0: 2.0},
    }

    def __init__(self, experiment, data_dir, lexicon) -> None:
        self.rates = self.RATES[data_dir.name]

    def error_rate(self, word_score: float) -> float:
        return self.rates[word_score]


def test_the_word_score_is_chosen_on_the_development_set(
    criteria, tmp_path, monkeypatch
):
    monkeypatch.setattr(criteria, "Decoder", Made)
    monkeypatch.setattr(criteria, "Experiment", lambda config, model: None)
    monkeypatch.setattr(criteria, "read_lexicon", lambda files: None)
    (tmp_path / "config.yaml").write_text(
        "valid_data_path_and_name_and_type: [[/data/dev/wav.scp, speech, sound]]"
    )
    scores = [-2.0, -1.0, 0.0, 2.0]
    assert criteria.compare(tmp_path, scores) == (5.0, -1.0, 4.0)


def test_table(criteria):
    found = {"CTC": [(4.0, 0.0, 4.0), (6.0, -1.0, 5.0)], "CTC-CRF": [(3.0, -2.0, 2.0)]}
    assert criteria.rows(found) == [
        ("CTC", "5.00 ± 1.41 (4.00, 6.00)", "4.50 ± 0.71 (4.00, 5.00)", "0, -1"),
        ("CTC-CRF", "3.00 ± 0.00 (3.00)", "2.00 ± 0.00 (2.00)", "-2"),
    ]
