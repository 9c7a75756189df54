"""Joint steps: one batch, one forward and one backward for weights and logits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from espnet_stnas.estimators import build_estimator
from espnet_stnas.search.joint_step import JointStep
from espnet_stnas.search.logit_update import LogitUpdate
from tests.search.test_architecture_step import (
    Model,
    data,
    generator,
    logits,
    make,
    reporter,
)


def make_joint(report, *, scaler=None, estimator="st", weight_lr=0.01):
    torch.manual_seed(1)
    model = Model(as_dict=False).train()
    update = LogitUpdate(
        model.supernet,
        build_estimator(estimator),
        optimizer=torch.optim.SGD(model.supernet.logits, lr=0.1),
        scheduler=None,
        options=SimpleNamespace(grad_clip=1e9, grad_clip_type=2.0),
    )
    weights = [p for n, p in model.named_parameters() if "logits" not in n]
    step = JointStep(
        update,
        weight_optimizer=torch.optim.SGD(weights, lr=weight_lr),
        scaler=scaler,
        reporter=report,
        distributed=False,
    )
    return model, step


def loop(model, step, *seeds, scaler=None, skip=False):
    """What ESPnet's loop does: an accumulation over batches, then an update."""
    for i, seed in enumerate(seeds):
        with model.supernet.routed(step.gates(generator(), first=i == 0)):
            utterances, content = data(seed)
            loss, _, _ = model(**content, utt_id=utterances)
            loss = loss / len(seeds)
            (loss if scaler is None else scaler.scale(loss)).backward()
    if skip:
        pass
    elif scaler is None:
        step.weight_optimizer.step()
    else:
        scaler.unscale_(step.weight_optimizer)
        scaler.step(step.weight_optimizer)
        scaler.update()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    step.weight_optimizer.zero_grad()
    return gradients


@pytest.mark.parametrize("scale", [None, 2.0**12])
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_logits_move_as_in_architecture_steps_on_the_same_batches(seeds, scale):
    scaler = None if scale is None else torch.amp.GradScaler("cpu", init_scale=scale)
    report = reporter()
    model, step = make_joint(report, scaler=scaler)
    start = logits(model)
    with step.active():
        gradients = loop(model, step, *seeds, scaler=scaler)
    assert not any("logits" in name for name in gradients)
    assert gradients
    report.next()
    assert report.stats["arch_grad_norm"][0].value > 0

    other, alternating = make(accum_grad=len(seeds))
    for i, seed in enumerate(seeds, start=1):
        alternating(data(seed), data(9), generator, reporter(), update=i == len(seeds))
    assert not torch.equal(logits(model), start)
    torch.testing.assert_close(logits(model), logits(other))


def test_weights_get_the_gradients_of_a_plain_weight_step():
    model, step = make_joint(reporter())
    with step.active():
        joint = loop(model, step, 0)
    plain, _ = make_joint(reporter())
    gates = plain.supernet.architecture_gates(build_estimator("st"), generator())
    with plain.supernet.routed([type(g)(g.active) for g in gates]):
        utterances, content = data(0)
        plain(**content, utt_id=utterances)[0].backward()
    found = {n: p.grad for n, p in plain.named_parameters() if p.grad is not None}
    assert found.keys() == joint.keys()
    assert all(torch.equal(found[n], joint[n]) for n in found)


def test_a_skipped_weight_step_skips_the_logits_and_leaves_nothing_behind():
    model, step = make_joint(reporter())
    start = logits(model)
    with step.active():
        loop(model, step, 3, skip=True)
        assert torch.equal(logits(model), start)
        loop(model, step, 0)
    other, other_step = make_joint(reporter())
    with other_step.active():
        loop(other, other_step, 0)
    assert torch.equal(logits(model), logits(other))


def test_hook_is_gone_after_the_epoch():
    model, step = make_joint(reporter())
    with step.active():
        pass
    start = logits(model)
    loop(model, step, 0)
    assert torch.equal(logits(model), start)


def test_proxyless_pairs_keep_other_probabilities():
    model, step = make_joint(reporter(), estimator="proxyless")
    before = model.supernet.probabilities()[0]
    with step.active():
        gates = step.gates(generator(), first=True)
        (other,) = {0, 1, 2} - gates[0].touched
        with model.supernet.routed(gates):
            utterances, content = data(0)
            model(**content, utt_id=utterances)[0].backward()
        step.weight_optimizer.step()
    after = model.supernet.probabilities()[0]
    torch.testing.assert_close(after[other], before[other])
    assert not torch.allclose(after, before)
