"""Scores of paths in the models of ESPnet's tasks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from espnet_stnas.estimators.base import Gate
from espnet_stnas.selection.scoring import PathScorer
from espnet_stnas.supernet.supernet import find_supernet
from tests.conftest import all_paths
from tests.host.test_tasks import (  # noqa: F401
    CASES,
    WIDTH,
    build,
    frames,
    transducer_loss,
)

CHOICE = ["tdnn-C1D1", "tdnn-C1D2"]
# Those that can be searched, and that do not need other packages.
NAMES = [name for name in CASES if name not in ("cls", "enh_s2t", "mt")]


@pytest.mark.usefixtures("transducer_loss")
@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_the_loss_of_the_model(name, tmp_path):
    """Whatever lies in front of the encoder and behind it."""
    case = CASES[name]
    strided = [] if name == "diar" else ["tdnn-S3"]
    conf = {"layers": [*strided, CHOICE, "tdnn", CHOICE], "width": WIDTH}
    case = replace(case, options={**case.options, "encoder_conf": conf})
    model = build(case, tmp_path)[0].eval()
    batch = {**(frames() if case.features else {}), **case.batch}
    scorer = PathScorer(model)
    paths = all_paths(scorer.supernet.space)[::-1]
    found = scorer.score(paths, scorer.prepare(batch))
    supernet = find_supernet(model)
    # The synthesizer of s2st has dropout in evaluation, too.
    near = 1e-2 if name == "s2st" else 1e-4
    for path, tally in zip(paths, found, strict=True):
        with torch.no_grad(), supernet.routed([Gate((k,)) for k in path]):
            loss, stats, weight = model(**batch)
        assert tally.loss == pytest.approx(float(loss) * float(weight), rel=near)
        assert (tally.accuracy is None) == (stats.get("acc") is None)
        if stats.get("acc") is not None:
            accuracy = float(stats["acc"]) * float(weight)
            assert tally.accuracy == pytest.approx(accuracy, rel=near)
    assert len({tally.loss for tally in found}) == len(paths)


def test_what_is_in_front_of_the_encoder_runs_once(tmp_path):
    case = replace(
        CASES["asr_ctc"],
        options={
            **CASES["asr_ctc"].options,
            "encoder_conf": {"layers": ["tdnn", CHOICE], "width": WIDTH},
            "normalize": "utterance_mvn",
        },
    )
    model = build(case, tmp_path)[0].train()
    ran = []
    model.normalize.register_forward_hook(lambda *_: ran.append("normalize"))
    forward = model.normalize.forward
    model.normalize.forward = lambda *a: (ran.append("inside"), forward(*a))[1]
    scorer = PathScorer(model)
    prepared = scorer.prepare({**frames(), **case.batch})
    assert ran == ["inside", "normalize"]
    assert model.training and model.normalize.training
    del model.normalize.forward
    scorer.score([(0,), (1,)], prepared)
    assert "inside" not in ran[2:]
    assert "forward" not in model.normalize.__dict__
    assert "forward" not in scorer.supernet.__dict__
    assert model.training and scorer.supernet.training
