"""The cost in the loss: formulas against enumeration, and options that are refused."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pytest
import torch
import yaml

from espnet_stnas.cost.counts import parameter_table
from espnet_stnas.cost.goal import (
    CostOptions,
    CostTerm,
    Target,
    build_term,
    parse_target,
)
from espnet_stnas.cost.latency import measure_latency
from espnet_stnas.cost.table import CostTable
from espnet_stnas.errors import ConfigError
from tests.conftest import all_paths, tiny_space

PAIR = ["tdnn-C1D1", "tdnn-C2D1"]
SPACE = tiny_space(
    "tdnn-C0D1",
    {"residual": {"body": [PAIR], "shortcut": [*PAIR, "zero"]}},
    {"choice": "last", "candidates": PAIR},
    {"choice": "last", "candidates": PAIR},
)


def random_logits() -> list[torch.Tensor]:
    sizes = [len(choice.candidates) for choice in SPACE.choices]
    return [torch.randn(k, dtype=torch.float64) for k in sizes]


@pytest.mark.parametrize("share", [None, 0.5, 0.99])
def test_loss_and_gradients_are_those_of_enumeration(share):
    """Of lambda E[c] / c_max, and of lambda max(0, E[c] / T - 1)."""
    table = parameter_table(SPACE, 3)
    costs = {path: table.of(path) for path in all_paths(SPACE)}
    largest = max(costs.values())
    target = None if share is None else share * largest
    logits = [a.requires_grad_() for a in random_logits()]
    pi = [torch.softmax(a, 0) for a in logits]
    mean = sum(
        math.prod(p[k] for p, k in zip(pi, path, strict=True)) * cost
        for path, cost in costs.items()
    )
    expected = 0.3 * mean / largest
    if target is not None:
        expected = 0.3 * torch.relu(mean / target - 1)
    loss, gradients = CostTerm(table, 0.3, target).gradients(logits)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-12)
    assert (loss == 0) == (share == 0.99)
    found = torch.autograd.grad(expected, logits)
    for one, other in zip(gradients, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_a_weight_means_the_same_in_every_unit():
    table = parameter_table(SPACE, 3)
    scaled = CostTable(
        "macs",
        1e6 * table.fixed,
        tuple(tuple(1e6 * c for c in costs) for costs in table.choices),
    )
    logits = random_logits()
    for share in (None, 0.6):
        results = [
            CostTerm(t, 0.5, share and share * t.maximum).gradients(logits)
            for t in (table, scaled)
        ]
        assert results[0][0] == pytest.approx(results[1][0])
        for one, other in zip(results[0][1], results[1][1], strict=True):
            torch.testing.assert_close(one, other)


def test_gradients_are_in_the_precision_of_the_logits_and_the_same_every_time():
    """So they are alike on all ranks, whose logits are."""
    term = build_term(SPACE, 3, CostOptions("params", 0.1))
    logits = [a.float() for a in random_logits()]
    one, other = (term.gradients([a.clone() for a in logits])[1] for _ in range(2))
    assert all(g.dtype == torch.float32 for g in one)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_space_without_any_cost():
    space = tiny_space(["identity", "zero"])
    loss, (gradient,) = build_term(space, 3, CostOptions("params", 1.0)).gradients(
        [torch.zeros(2)]
    )
    assert loss == 0 and not gradient.any()


@pytest.mark.parametrize(
    ("value", "target"),
    [
        (5, Target(5.0)),
        (8e6, Target(8e6)),
        ("8e6", Target(8e6)),
        ("8M", Target(8e6)),
        ("1.5 G", Target(1.5e9)),
        ("60%", Target(0.6, "")),
        ("60% of tdnn-C2D2", Target(0.6, "tdnn-C2D2")),
    ],
)
def test_targets(value, target):
    assert parse_target(value) == target


def test_shares():
    table = parameter_table(SPACE, 3)
    assert Target(0.5, "").resolve(SPACE, table) == 0.5 * table.maximum
    plain = tiny_space(PAIR, PAIR)
    table = parameter_table(plain, 3)
    assert Target(0.5, "tdnn-C2D1").resolve(plain, table) == 0.5 * table.of((1, 1))


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        True,
        "8 MB",
        "%",
        "60% of",
        "-5",
        "nan",
        "1e99x",
        [3],
        float("nan"),
        "",
        10**400,
    ],
)
def test_targets_that_are_none(value):
    with pytest.raises(ConfigError, match="cost_conf: target is .*above 0, also with"):
        parse_target(value)


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ([1], r" is \[1\]; accepted is a mapping"),
        ({"weight": 1}, "kind is None; accepted are: params, macs, latency, l"),
        ({"kind": ["macs"]}, r"kind is \['macs'\]; accepted are: params"),
        ({"kind": "flops", "weight": 1}, "kind is 'flops'; accepted are"),
        ({"kind": "params"}, "weight is missing; accepted is a number from 0"),
        ({"kind": "params", "weight": -0.1}, "weight is -0.1; accepted is"),
        ({"kind": "params", "weight": "much"}, "weight is 'much'; accepted is"),
        ({"kind": "params", "weight": 10**400}, "weight is an integer of 1329 bits"),
        ({"kind": "params", "weight": float("nan")}, "weight is nan; accepted is"),
        ({"kind": "params", "weight": float("inf")}, "weight is inf; accepted is"),
        (
            {"kind": "params", "weight": 1, "frames": 10},
            "unknown key 'frames' .*with kind 'params', accepted are: kind, weight, ta",
        ),
        ({"kind": "macs", "weight": 1, "frames": 0.5}, "frames is 0.5; accepted is an"),
        ({"kind": "latency", "weight": 1}, "table is None; kind 'latency' needs the"),
        (
            {"kind": "lookahead", "weight": 1, "frame_shift": 0},
            "frame_shift is 0; accepted are milliseconds, above 0",
        ),
        (
            {"kind": "lookahead", "weight": 1, "frame_shift": "8"},
            "frame_shift is '8'; accepted are milliseconds",
        ),
        ({"kind": "params", "weight": 1, "target": "x"}, "target is 'x'; accepted is"),
    ],
)
def test_options_that_are_refused(conf, message):
    with pytest.raises(ConfigError, match=f"^cost_conf.*{message}"):
        CostOptions.from_conf(conf)


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        (
            {"target": 100},
            "cost_conf: target: no architecture of this space has at most 100 "
            "parameters; the cheapest has 204 parameters$",
        ),
        ({"target": "30%"}, "no architecture of this space has at most"),
        (
            {"target": "60% of zero"},
            r"cost_conf: target: 'zero' is no candidate of layer 2 \(layers\[2\]: "
            r"residual: body\[1\]\); accepted is one",
        ),
        (
            {"kind": "lookahead", "target": 8, "frame_shift": 5},
            "cost_conf: target: no architecture of this space has at most 8 ms of look",
        ),
        ({"kind": "latency", "table": "no.yaml"}, "latency table no.yaml does not exi"),
    ],
)
def test_goals_that_are_refused(conf, message):
    options = CostOptions.from_conf({"kind": "params", "weight": 1, **conf})
    with pytest.raises(ConfigError, match=message):
        build_term(SPACE, 3, options)


def test_the_cheapest_architecture_may_be_the_target():
    table = parameter_table(SPACE, 3)
    term = build_term(SPACE, 3, CostOptions("params", 1, target=table.minimum))
    assert term.target == table.minimum


def test_utterances_that_are_too_short():
    space = tiny_space("conv2d-S4", PAIR)
    with pytest.raises(ConfigError, match="cost_conf: layer 1 leaves nothing of 3 f"):
        build_term(space, 20, CostOptions("macs", 1, frames=3))


def test_tables_of_latency(tmp_path):
    measure_latency(SPACE, 3, 9, repeat=1).write(tmp_path / "latency.yaml")
    options = CostOptions.from_conf(
        {"kind": "latency", "weight": 1, "table": str(tmp_path / "latency.yaml")}
    )
    term = build_term(SPACE, 3, options)
    assert (term.table.kind, term.frames) == ("latency", 9)
    with pytest.raises(ConfigError, match="latency.yaml is of another search space"):
        build_term(tiny_space(PAIR), 3, options)
    for key in ("runtime", "precision", "device"):
        with pytest.raises(ConfigError, match=f"and cost_conf: {key} is 'other'; meas"):
            build_term(SPACE, 3, dataclasses.replace(options, **{key: "other"}))
    conf = {"kind": "latency", "weight": 1, "table": "t", "device": 3}
    with pytest.raises(ConfigError, match="cost_conf: device is 3; accepted is a tex"):
        CostOptions.from_conf(conf)


def test_the_guide_has_accepted_examples_and_names_every_key():
    text = (Path(__file__).parents[2] / "docs" / "cost.md").read_text(encoding="utf-8")
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        CostOptions.from_conf(yaml.safe_load(block)["cost_conf"])
    keys = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert keys == {field.name for field in dataclasses.fields(CostOptions)}
