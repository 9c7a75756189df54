"""Every option of a search, with values of every kind: converted, or one sentence."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from espnet_stnas.search import program
from espnet_stnas.search.option_values import RANGES, settle_options
from espnet_stnas.search.task import SearchASRTask
from tests.fuzz.inputs import WRITABLE
from tests.search.conftest import command, search_config

PARSER = SearchASRTask.get_parser()
DEFAULTS = PARSER.parse_args([])
ACTIONS = {
    a.dest: a
    for a in PARSER._actions
    if hasattr(DEFAULTS, a.dest) and a.dest != "config"
}


def settled(**changes: Any) -> tuple[argparse.Namespace, list[str]]:
    args = argparse.Namespace(**{**vars(DEFAULTS), **changes})
    return args, settle_options(PARSER, args)


@pytest.mark.parametrize("name", ACTIONS)
def test_every_option_with_every_kind_of_value(name):
    """What is accepted has the type of the command line, and stays as it is."""
    action, accepted = ACTIONS[name], 0
    for value in [
        *WRITABLE,
        "1",
        ["x"],
        ["a", "b"],
        [1],
        ["a", "b", "c"],
        [["a", "b", "c"]],
    ]:
        args, problems = settled(**{name: value})
        found = getattr(args, name)
        if problems:
            (sentence,) = problems
            assert sentence.startswith(f"{name} is ") and "; accepted is " in sentence
            assert sentence.isprintable() and len(sentence) < 300
            assert found == action.default
            continue
        accepted += 1
        assert repr(getattr(settled(**{name: found})[0], name)) == repr(found)
        kind = getattr(action.type, "__name__", "")
        items = found if isinstance(found, (list, tuple)) else [found]
        if kind in ("int", "int_or_none", "str2bool", "float", "str"):
            right = {"str2bool": bool, "float": float, "str": str}.get(kind, int)
            assert all(i is None or type(i) is right for i in items), (value, found)
    assert accepted


def test_defaults_are_accepted_as_they_are():
    args, problems = settled()
    assert (vars(args), problems) == (vars(DEFAULTS), [])


@pytest.mark.parametrize("name", RANGES)
def test_ranges(name):
    limits = RANGES[name]
    many = isinstance(getattr(DEFAULTS, name, None), list)
    kind = getattr(ACTIONS[name].type, "__name__", "")
    below = limits.least if limits.open else limits.least - 1
    huge = [10**30] if limits.most < 10**20 else []
    for value in [below, *huge, *([float("nan")] if "float" in kind else [])]:
        _, (problem,) = settled(**{name: [value] if many else value})
        assert problem.endswith(f"; accepted is a number {limits}")
    assert settled(**{name: [1] if many else 1})[1] == []


# What ended in a traceback.
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accum_grad": 0}, "accum_grad is 0; accepted is a number from 1 to"),
        ({"grad_clip": float("nan")}, "grad_clip is nan; accepted is a number above 0"),
        ({"grad_clip": -1}, "grad_clip is -1; accepted is a number above 0"),
        ({"freeze_param": 3}, "freeze_param is 3; accepted is a list, each a text"),
        ({"freeze_param": None}, "freeze_param is None; accepted is a list"),
        ({"freeze_param": [["x"]]}, "freeze_param is .*; accepted is a list, each a t"),
        ({"num_workers": -1}, "num_workers is -1; accepted is a number from 0"),
        ({"best_model_criterion": 0}, "best_model_criterion is 0; accepted is a list"),
        ({"best_model_criterion": [["a"]]}, "accepted is a list, each a list of three"),
        (
            {"keep_nbest_models": ["x"]},
            "keep_nbest_models is .*a list, each an integer",
        ),
        ({"max_epoch": 10**30}, "max_epoch is an integer of 100 bits; accepted is a n"),
        ({"batch_type": None}, "batch_type is None; accepted"),
        ({"batch_type": "folded"}, "fold_length has 0 lengths and train_shape_file 1"),
        (
            {"estimator_conf": {"score_dtype": {"a": 1}}},
            "estimator 'st' with its estimator_conf cannot be built|score_dtype is",
        ),
        ({"pretrain_path": "x"}, "pretrain_path is 'x'; accepted is null: ESPnet has"),
        ({"optim2_conf": {"lr": "x"}}, "optim2 'adam' with its optim2_conf cannot be"),
    ],
)
def test_what_ended_in_a_traceback(corpus, tmp_path, changes, message):
    options = command(corpus, tmp_path / "exp", search_config(**changes))
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        program.main(options)


def test_numbers_for_true_and_false(corpus, tmp_path):
    """ESPnet's own checks take no integers for them; on the command line they do."""
    changes = {"drop_last_iter": 0, "cudnn_enabled": 1, "keep_nbest_models": 2}
    config = search_config(max_epoch=1, warmup_epochs=0, **changes)
    program.main(command(corpus, tmp_path / "exp", config))
    assert (tmp_path / "exp" / "checkpoint.pth").exists()
