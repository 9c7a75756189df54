"""The cost in searches: one update, whole searches, and what is refused."""

from __future__ import annotations

import logging
from dataclasses import asdict

import pytest
import torch
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.cost.counts import parameter_table
from espnet_stnas.cost.goal import CostTerm
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.experiment import SearchExperiment
from tests.search.conftest import search_config
from tests.search.test_architecture_step import SPACE, data, logits, make, run
from tests.search.test_checks import dry_run
from tests.search.test_distributed import search as search_with
from tests.search.test_joint_step import loop, make_joint, reporter
from tests.search.test_search import assert_same, load, search

TABLE = parameter_table(SPACE, 3)
TERM = CostTerm(TABLE, 0.7)
# The input of the encoder of the tiny search has 8 dimensions.
TINY = parameter_table(SearchSpace.from_conf(search_config()["encoder_conf"]), 8)


def flat() -> tuple[list[torch.Tensor], list[frozenset[int]]]:
    """What a task gives that does not care: gradients of zero that tell of nothing."""
    sizes = [len(c.candidates) for c in SPACE.choices]
    gradients = [torch.zeros(k, dtype=torch.double) for k in sizes]
    return gradients, [frozenset()] * len(sizes)


def update(epoch) -> dict[str, float]:
    """Update the logits: what the epoch reports of it."""
    epoch.reporter = reporter()
    epoch.update_logits(["a"])
    epoch.reporter.next()
    return {key: values[-1].value for key, values in epoch.reporter.stats.items()}


@pytest.mark.parametrize("kind", ["alternating", "joint"])
def test_an_update_follows_the_sum_of_both_gradients(kind):
    """Once per update, over two batches of one accumulation."""

    def moved(cost):
        if kind == "joint":
            model, epoch = make_joint()
            epoch.run.cost = cost
            with epoch:
                loop(model, epoch, 0, 1)
        else:
            model, epoch = make(accum_grad=2)
            epoch.run.cost = cost
            run(epoch, 0, 1)
        return logits(model)

    start = logits(make()[0])
    gradient = torch.cat(TERM.gradients(make()[0].supernet.logits)[1])
    torch.testing.assert_close(moved(TERM), moved(None) - 0.1 * gradient)
    assert not torch.equal(moved(None), start)


def test_the_cost_has_no_loss_scale():
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    models = []
    for s in (None, scaler):
        model, epoch = make(scaler=s)
        epoch.run.cost = TERM
        stats = run(epoch, 0)
        models.append(logits(model))
    torch.testing.assert_close(*models)
    start = make()[0].supernet.logits
    assert stats["arch_cost_loss"] == pytest.approx(TERM.gradients(start)[0])


def test_clipping_keeps_the_direction_of_the_sum():
    directions = []
    for clip in (1e9, 1e-3):
        model, epoch = make(grad_clip=clip)
        start = logits(model)
        epoch.run.cost = TERM
        run(epoch, 0)
        directions.append(logits(model) - start)
    assert directions[1].norm() == pytest.approx(0.1 * 1e-3, rel=1e-2)
    torch.testing.assert_close(*(d / d.norm() for d in directions), rtol=1e-4, atol=0)


def test_a_skipped_update_leaves_nothing_of_the_cost():
    model, epoch = make()
    epoch.run.cost = TERM
    start = logits(model)
    gradients, touched = flat()
    epoch.learner.accumulate([g / 0.0 for g in gradients], touched)
    assert update(epoch)["arch_skipped"] == 1
    assert torch.equal(logits(model), start)
    assert all(p.grad is None for p in model.supernet.logits)


def test_of_equal_candidates_the_search_takes_the_cheaper():
    model, epoch = make(lr=1.0)
    epoch.run.cost = TERM
    before = TABLE.expected_cost(model.supernet.probabilities())
    for _ in range(200):
        epoch.learner.accumulate(*flat())
        update(epoch)
        after = TABLE.expected_cost(model.supernet.probabilities())
        assert after < before
        before = after
    best = [int(p.argmax()) for p in model.supernet.probabilities()]
    assert tuple(best) == TABLE.cheapest


@pytest.mark.parametrize("estimator", ["st", "proxyless"])
def test_a_flat_task_stops_at_the_target_or_is_left_alone(estimator):
    model, epoch = make(lr=0.05, estimator=estimator)
    start = float(TABLE.expected_cost(model.supernet.probabilities()))
    target = 0.5 * (TABLE.minimum + start)
    epoch.run.cost = CostTerm(TABLE, 1.0, target)
    for _ in range(300):
        epoch.learner.accumulate(*flat())
        update(epoch)
    cost = float(TABLE.expected_cost(model.supernet.probabilities()))
    assert cost == pytest.approx(target, rel=0.02)
    # Below the target, nothing is left that would move the logits.
    epoch.run.cost = CostTerm(TABLE, 1.0, cost + 1)
    before = logits(model)
    epoch.learner.accumulate(*flat())
    assert update(epoch)["arch_cost_loss"] == 0
    assert torch.equal(logits(model), before)


def test_with_proxyless_the_cost_moves_candidates_that_were_not_drawn():
    model, epoch = make(estimator="proxyless")
    epoch.run.cost = TERM
    before = [p.clone() for p in model.supernet.probabilities()]
    epoch.learner.accumulate(flat()[0], [frozenset({0, 1})] * 2)
    update(epoch)
    after = model.supernet.probabilities()
    c = torch.tensor(TABLE.choices[0])
    cheap = c < (before[0] * c).sum()
    assert ((after[0] > before[0]) == cheap).all()


def test_ranks_with_their_own_data_get_one_cost_gradient():
    """Gradients of the task are averaged over ranks before; cost is added to them."""
    gradients = TERM.gradients(make()[0].supernet.logits)[1]
    data(0)  # draws from the global generator
    again = TERM.gradients(make()[0].supernet.logits)[1]
    assert all(torch.equal(a, b) for a, b in zip(gradients, again, strict=True))


COST = {"kind": "params", "weight": 1000.0}


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """A search in which little but cost counts."""
    exp = tmp_path_factory.mktemp("cost") / "exp"
    search(corpus, exp, cost_conf=COST, max_epoch=3)
    return exp


def test_a_large_weight_ends_with_the_cheapest_architecture(finished):
    found = SearchExperiment.open(finished).searched()
    space = SearchExperiment.open(finished).space
    # Of three candidates, the third is dearer; the others have equal costs.
    assert TINY.of(space.index(found.space)) == TINY.minimum < TINY.maximum
    pi = [list(p.values()) for p in found.provenance.probabilities]
    assert found.provenance.input_size == 8
    assert asdict(found.provenance.cost) == {
        "kind": "params",
        "value": TINY.minimum,
        "target": None,
        "frames": None,
        "frame_shift": None,
        "expected": pytest.approx(
            float(TINY.expected_cost(torch.tensor(p) for p in pi)), 1
        ),
        "weight": 1000.0,
    }


def test_reports(finished):
    stats = load(finished)["reporter"]["stats"]
    costs = [stats[epoch]["valid"]["cost"] for epoch in (1, 2, 3)]
    assert costs[0] == pytest.approx(
        float(TINY.expected_cost([torch.ones(3) / 3] + half()))
    )
    assert costs[0] > costs[1] > costs[2] > TINY.minimum
    assert stats[3]["valid"]["cost_argmax"] == TINY.minimum
    assert "arch_cost_loss" not in stats[1]["train"]
    assert stats[2]["train"]["arch_cost_loss"] > stats[3]["train"]["arch_cost_loss"]


def half() -> list[torch.Tensor]:
    return [torch.ones(2) / 2]


@pytest.mark.parametrize("arch_data", ["train", "joint"])
def test_a_target_is_where_the_search_stops(corpus, tmp_path, arch_data):
    start = float(TINY.expected_cost([torch.ones(3) / 3, *half()]))
    target = round(start - 0.4 * (start - TINY.minimum))
    search(
        corpus,
        tmp_path / "exp",
        cost_conf={"kind": "params", "weight": 1000.0, "target": target},
        arch_data=arch_data,
        optim2="sgd",
        optim2_conf={"lr": 5e-3},
        warmup_epochs=0,
        max_epoch=4,
    )
    found = SearchExperiment.open(tmp_path / "exp").searched()
    cost = found.provenance.cost
    assert cost.target == target
    assert abs(cost.expected - target) < 0.15 * (start - TINY.minimum)


def test_resumed_and_uninterrupted_searches_are_the_same(corpus, tmp_path):
    options = {"cost_conf": {"kind": "macs", "weight": 1.0, "frames": 50}}
    options["accum_grad"] = 2
    whole = search(corpus, tmp_path / "whole", **options)
    search(corpus, tmp_path / "parts", max_epoch=2, **options)
    parts = search(corpus, tmp_path / "parts", **options)
    assert_same(whole["model"], parts["model"])
    for name in ("2epoch.yaml", "3epoch.yaml"):
        files = [tmp_path / d / "architectures" / name for d in ("whole", "parts")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_weight_of_zero_reports_and_changes_nothing(corpus, tmp_path):
    cost = {"kind": "macs", "weight": 0}
    one = search(corpus, tmp_path / "one", max_epoch=2, cost_conf=cost)
    other = search(corpus, tmp_path / "other", max_epoch=2)
    assert_same(one["model"], other["model"])
    assert one["reporter"]["stats"][2]["valid"]["cost"] > 0
    assert "cost" not in other["reporter"]["stats"][2]["valid"]


def test_a_search_with_measured_latencies(corpus, tmp_path):
    config, table = search_config(), tmp_path / "latency.yaml"
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(config))
    stnas(
        [
            "measure-latency",
            *(str(tmp_path / "space.yaml"), "--output", str(table)),
            *("--input_size", "8", "--frames", "50", "--repeat", "1"),
        ]
    )
    cost = {"kind": "latency", "weight": 1, "table": str(table), "target": "100%"}
    search(corpus, tmp_path / "exp", max_epoch=2, cost_conf=cost)
    found = SearchExperiment.open(tmp_path / "exp").searched().provenance.cost
    assert (found.kind, found.frames) == ("latency", 50)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cost_conf": {"kind": "flops"}}, "cost_conf: kind is 'flops'; accepted are"),
        ({"cost_conf": "params"}, "cost_conf is 'params'; accepted is a mapping"),
        ({"cost_conf": {**COST, "weight": -1}}, "cost_conf: weight is -1; accepted"),
        (
            {"cost_conf": {**COST, "target": 10}},
            "no architecture of this space has at most 10 parameters; the cheapest has "
            f"{TINY.minimum:,.0f} parameters",
        ),
        (
            {"cost_conf": {**COST, "target": "50% of tdnn-C2D1Nbn"}},
            "cost_conf: target: 'tdnn-C2D1Nbn' is no candidate of layer 3",
        ),
        (
            {"cost_conf": {"kind": "latency", "weight": 1, "table": "none.yaml"}},
            "latency table none.yaml does not exist",
        ),
        (
            {"cost_conf": COST, "estimator": "uniform"},
            "weight is 1000.0, but the estimator of this search does not train",
        ),
    ],
)
def test_what_is_refused_before_anything_is_trained(corpus, tmp_path, changes, message):
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        dry_run(corpus, tmp_path, **changes)


def test_a_target_that_binds_nothing_is_told(corpus, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    dry_run(corpus, tmp_path, cost_conf={**COST, "target": "100%"})
    assert "so the cost steers nothing" in caplog.text
    assert "parameters from" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("path_draws", ["same", "per_rank"])
def test_two_processes_keep_the_same_logits(corpus, tmp_path, path_draws):
    cost = {"kind": "params", "weight": 10.0}
    ranks = search_with(
        corpus, tmp_path / "exp", 2, cost_conf=cost, path_draws=path_draws
    )
    assert_same(*ranks)
    assert SearchExperiment.open(tmp_path / "exp").searched().provenance.cost
