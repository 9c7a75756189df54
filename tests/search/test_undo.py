"""A skipped step changes nothing; the draws after it are those of any other step."""

from __future__ import annotations

import math
from typing import Any

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conftest import tiny_space
from tests.search.test_architecture_step import data, make

SPACE = tiny_space(
    "tdnn-Nbn",
    ["tdnn-C1Nbn", "tdnn-C2", "tdnn-C0Nbn", "identity"],
    ["tdnn-C1Nbn", "tdnn", "identity"],
    dropout_rate=0.3,
)
# Of good batches, and of such with a value that is not finite.
BATCHES = st.lists(
    st.sampled_from([0.0, 0.0, math.nan, math.inf]), min_size=1, max_size=5
)
ESTIMATORS = st.sampled_from(
    [("st", {}), ("st", {"subgraph_size": 2}), ("proxyless", {})]
)


class Stream:
    """ESPnet's factory of the batches of architecture steps."""

    def __init__(self, batches: list) -> None:
        self.batches = batches

    def build_iter(self, epoch: int) -> list:
        return self.batches


def content(values: list[float], first: int = 0) -> list:
    """Batches of noise, each with a value added to one feature of one frame."""
    made = []
    for seed, value in enumerate(values, start=first):
        utterances, batch = data(seed)
        batch["x"][1, 2, 0] += value
        made.append((utterances, batch))
    return made


def search(**options: Any):
    """A model in double precision, and an epoch whose optimizers have momentum."""
    model, epoch = make(space=SPACE, **options)
    for optimizer in epoch.run.optimizers:
        for group in optimizer.param_groups:
            group["momentum"] = 0.9
    return model, epoch


def state(epoch, logits: bool = True) -> dict[str, torch.Tensor]:
    """Parameters, buffers and momenta; without what architecture steps change."""
    found = {
        k: v.clone()
        for k, v in epoch.run.model.state_dict().items()
        if logits or not k.endswith(("logits", "score_offset"))
    }
    for n, optimizer in enumerate(epoch.run.optimizers[: 1 + logits]):
        for m, values in enumerate(optimizer.state.values()):
            if values["momentum_buffer"] is not None:
                found[f"{n}.{m}"] = values["momentum_buffer"].clone()
    return found


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[k], other[k]) for k in one
    )


def train(model, epoch) -> list:
    """ESPnet's loop: the states before the first and after every update."""
    joint, accum_grad = epoch.joint is not None, epoch.run.options.accum_grad
    optimizer = epoch.run.optimizers[0]
    states = []
    with epoch:
        for step, (utterances, batch) in enumerate(epoch):
            if step % accum_grad == 0:
                states.append((state(epoch, joint), torch.get_rng_state()))
            epoch.reporter.register({"step": step})
            (model(**batch, utt_id=utterances)[0] / accum_grad).backward()
            if (step + 1) % accum_grad == 0:
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                if torch.isfinite(norm):
                    optimizer.step()
                optimizer.zero_grad()
            epoch.reporter.next()
    return [*states, (state(epoch, joint), torch.get_rng_state())]


def trained(values, estimator, **options) -> list:
    name, conf = estimator
    model, epoch = search(estimator=name, estimator_conf=conf, **options)
    epoch.batches.weights = content(values)
    epoch.batches.architecture = Stream(content([0.0] * 9, first=100))
    torch.manual_seed(0)
    return train(model, epoch)


@settings(max_examples=15)
@given(BATCHES, st.integers(1, 3), st.sampled_from(["train", "joint"]), ESTIMATORS)
def test_a_weight_step(values, accum_grad, arch_data, estimator):
    """Also the unfinished one at the end of an epoch, and in joint steps the logits."""
    options = {"accum_grad": accum_grad, "arch_data": arch_data}
    states = trained(values, estimator, **options)
    clean = trained([0.0] * len(values), estimator, **options)
    starts = range(0, len(values), accum_grad)
    for n, start in enumerate(starts):
        window = values[start : start + accum_grad]
        made = len(window) == accum_grad and not any(window)
        assert same(states[n][0], states[n + 1][0]) != made
        if not any(values[:start]):
            assert torch.equal(states[n + 1][1], clean[n + 1][1])


@settings(max_examples=15)
@given(BATCHES, st.integers(1, 3), ESTIMATORS)
@example([0.0, math.nan], 2, ("st", {"subgraph_size": 2}))
def test_an_architecture_step(values, accum_grad, estimator):
    name, conf = estimator
    model, epoch = search(estimator=name, estimator_conf=conf, accum_grad=accum_grad)
    with epoch:
        before, good = state(epoch), True
        for step, batch in enumerate(content(values), start=1):
            good &= not any(values[step - 1 : step])
            epoch.architecture_step(step, batch, batch)
            epoch.reporter.next()
            if step % accum_grad == 0:
                assert same(before, state(epoch)) != good
                before, good = state(epoch), True
