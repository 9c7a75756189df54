"""One architecture step on a model that is nothing but a supernet and a loss."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import SubReporter

from espnet_stnas.estimators import ESTIMATORS
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.search.epoch import Epoch
from espnet_stnas.search.iterators import SearchBatches
from espnet_stnas.search.state import SearchRun
from espnet_stnas.supernet.supernet import path_generator
from tests.conftest import batch, double_network, tiny_space

SPACE = tiny_space(
    "tdnn-Nbn", ["tdnn-C1Nbn", "tdnn-C2", "identity"], ["tdnn", "identity"]
)


class Model(torch.nn.Module):
    """As ESPnet's models: data by name in; loss, stats and weight out."""

    def __init__(self, as_dict: bool, space: SearchSpace) -> None:
        super().__init__()
        self.supernet = double_network(space)
        self.as_dict = as_dict

    def forward(self, x, lengths, utt_id):
        assert len(utt_id) == len(x)
        loss = self.supernet(x, lengths)[0].tanh().sum()
        stats, weight = {"loss": loss.detach()}, torch.tensor(len(x))
        if self.as_dict:
            return {"loss": loss, "stats": stats, "weight": weight}
        return loss, stats, weight


def make(
    *,
    report=None,
    scaler=None,
    lr=0.1,
    as_dict=False,
    scheduler=None,
    space=SPACE,
    **options,
):
    """A model, always the same one, in training mode, and an epoch of its search.

    ``options`` are those of the search.
    """
    torch.manual_seed(1)
    model = Model(as_dict, space).train()
    defaults = {
        **{"ngpu": 0, "accum_grad": 1, "grad_clip": 1e9, "grad_clip_type": 2.0},
        **{"estimator": "st", "estimator_conf": {}, "cost_conf": {}, "seed": 0},
        **{"arch_data": "train", "path_draws": "same", "no_forward_run": False},
        **{"warmup_epochs": 0, "max_epoch": 1, "max_skipped_steps": 50},
        **{"elastic": False, "distill_weight": 0.5},
        **{"log_interval": 1, "output_dir": "no_experiment"},
    }
    optimizer = torch.optim.SGD(model.supernet.logits, lr=lr)
    weights = [p for n, p in model.named_parameters() if "logits" not in n]
    run = SearchRun(
        SimpleNamespace(**{**defaults, **options}),
        model,
        [torch.optim.SGD(weights, lr=0.01), optimizer],
        [None, scheduler(optimizer) if scheduler else None],
        DistributedOption(),
    )
    run.rank = 1  # which writes no log
    batches = SearchBatches([], None, 1)
    epoch = Epoch(run, model, batches, report or reporter(), scaler)
    epoch._source = lambda *_: generator  # all steps draw alike
    return model, epoch


def data(seed: int):
    torch.manual_seed(seed)
    x, lengths = batch((8, 5))
    return ["a", "b"], {"x": x, "lengths": lengths}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def reporter() -> SubReporter:
    return SubReporter("train", 1, 0)


def logits(model) -> torch.Tensor:
    return torch.cat([p.detach().clone() for p in model.supernet.logits])


def run(epoch, *seeds: int) -> dict:
    """Accumulate over batches, update at the last; return the last statistics."""
    for i, seed in enumerate(seeds, start=1):
        epoch.reporter = reporter()
        epoch.architecture_step(i, data(seed), data(seed + 100))
        epoch.reporter.next()
    return {key: values[-1].value for key, values in epoch.reporter.stats.items()}


@pytest.mark.parametrize("as_dict", [False, True])
def test_only_logits_change(as_dict):
    model, epoch = make(as_dict=as_dict)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    stats = run(epoch, 0)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]) != key.endswith("logits"), key
    assert all(p.grad is None for p in model.parameters())
    assert stats["arch_grad_norm"] > 0
    assert stats["arch_loss"] != 0
    assert stats["optim1_lr0"] == 0.1


def test_loss_scaling_does_not_change_the_step():
    plain, plain_epoch = make()
    scaled, scaled_epoch = make(scaler=torch.amp.GradScaler("cpu", init_scale=2.0**14))
    start = logits(plain)
    plain_stats, scaled_stats = run(plain_epoch, 0), run(scaled_epoch, 0)
    assert not torch.equal(logits(plain), start)
    torch.testing.assert_close(logits(scaled), logits(plain))
    for key in ("arch_loss", "arch_grad_norm"):
        assert scaled_stats[key] == pytest.approx(plain_stats[key])


def test_accumulation_averages_the_gradients_of_its_batches():
    moves = []
    for seeds, accum_grad in (((0,), 1), ((1,), 1), ((0, 1), 2)):
        model, epoch = make(accum_grad=accum_grad)
        start = logits(model)
        run(epoch, *seeds)
        moves.append(logits(model) - start)
    assert not torch.equal(moves[0], moves[1])
    torch.testing.assert_close(moves[2], (moves[0] + moves[1]) / 2)


def test_clipping():
    model, epoch = make()
    start = logits(model)
    norm = run(epoch, 0)["arch_grad_norm"]
    free = logits(model) - start
    model, epoch = make(grad_clip=0.25 * norm)
    assert run(epoch, 0)["arch_grad_norm"] == pytest.approx(norm)
    torch.testing.assert_close(logits(model) - start, 0.25 * free, rtol=1e-4, atol=0)


def test_batch_schedulers_step_with_the_optimizer():
    model, epoch = make(
        accum_grad=2,
        scheduler=lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.1, 0.2, 1),
    )
    run(epoch, 0, 1)
    rates = [run(epoch, 0, 1)["optim1_lr0"]]
    assert rates == [pytest.approx(0.1)]
    assert epoch.run.schedulers[1].last_epoch == 2


def test_non_finite_gradients_are_skipped_and_counted():
    model, epoch = make()
    start = logits(model)
    utterances, content = data(0)
    content["x"][0, 0, 0] = float("nan")
    with epoch:
        epoch.architecture_step(1, (utterances, content), data(100))
    epoch.reporter.next()
    assert epoch.reporter.stats["arch_skipped"][0].value == 1.0
    assert torch.equal(logits(model), start)
    assert run(epoch, 0)["arch_skipped"] == 0.0
    assert not torch.equal(logits(model), start)


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if n != "uniform"])
def test_only_logits_change_whatever_the_estimator(name):
    conf = {"order": 2} if name == "darts" else {}
    model, epoch = make(estimator=name, estimator_conf=conf)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert run(epoch, 0)["arch_grad_norm"] > 0
    for key, value in model.state_dict().items():
        if not key.endswith("logits"):
            assert torch.equal(value, before[key]), key
    assert any(not torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_second_order_looks_at_the_batch_of_the_weight_step():
    """The same architecture batch, another weight batch: another update."""
    moves = []
    for order, seed in ((1, 100), (1, 101), (2, 100), (2, 101), (2, 100)):
        model, epoch = make(estimator="darts", estimator_conf={"order": order})
        torch.manual_seed(0)
        epoch.architecture_step(1, data(0), data(seed))
        moves.append(logits(model))
    assert torch.equal(moves[0], moves[1])
    assert not torch.allclose(moves[2], moves[3])
    assert torch.equal(moves[2], moves[4])


def test_temperature_is_reported():
    model, epoch = make(estimator="gumbel_st", estimator_conf={"temperature": 0.3})
    assert run(epoch, 0)["temperature"] == pytest.approx(0.3)


def test_proxyless_with_momentum_leaves_other_probabilities_alone():
    """Pairs of all batches of an accumulation count."""
    model, epoch = make(estimator="proxyless", accum_grad=2)
    epoch.learner.optimizer = torch.optim.Adam(model.supernet.logits, lr=0.1)
    del epoch._source
    left_alone = 0
    for number in range(5):
        before = model.supernet.probabilities()
        touched = set()
        for step in (2 * number + 1, 2 * number + 2):
            draw = path_generator(0, 1, step, "architecture")
            gates = model.supernet.architecture_gates(epoch.estimator, draw)
            touched |= gates[0].touched
            epoch.architecture_step(step, data(step), data(9))
            epoch.reporter.next()
        after = model.supernet.probabilities()
        for k in {0, 1, 2} - touched:
            left_alone += 1
            torch.testing.assert_close(after[0][k], before[0][k])
        assert not torch.allclose(after[1], before[1])
    assert left_alone
