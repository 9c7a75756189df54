"""Joint steps: one batch, one forward and one backward for weights and logits."""

from __future__ import annotations

import pytest
import torch

from espnet_stnas.estimators import build_estimator
from tests.search.test_architecture_step import (
    data,
    generator,
    logits,
    make,
    reporter,
)


def make_joint(**options):
    return make(arch_data="joint", **options)


def loop(model, epoch, *seeds, skip=False):
    """What ESPnet's loop does: an accumulation over batches, then an update."""
    scaler, optimizer = epoch.scaler, epoch.run.optimizers[0]
    epoch.run.options.accum_grad = len(seeds)
    epoch.batches.weights = [data(seed) for seed in seeds]
    for step, (utterances, content) in enumerate(epoch, start=1):
        loss, _, _ = model(**content, utt_id=utterances)
        loss = loss / len(seeds)
        (loss if scaler is None else scaler.scale(loss)).backward()
        if step < len(seeds) or skip:
            pass
        elif scaler is None:
            optimizer.step()
        else:
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    optimizer.zero_grad()
    return gradients


@pytest.mark.parametrize("scale", [None, 2.0**12])
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_logits_move_as_in_architecture_steps_on_the_same_batches(seeds, scale):
    scaler = None if scale is None else torch.amp.GradScaler("cpu", init_scale=scale)
    report = reporter()
    model, epoch = make_joint(report=report, scaler=scaler)
    start = logits(model)
    with epoch:
        gradients = loop(model, epoch, *seeds)
    assert not any("logits" in name for name in gradients)
    assert gradients
    report.next()
    assert report.stats["arch_grad_norm"][0].value > 0

    other, alternating = make(accum_grad=len(seeds))
    for step, seed in enumerate(seeds, start=1):
        alternating.reporter = reporter()
        alternating.architecture_step(step, data(seed), data(9))
    assert not torch.equal(logits(model), start)
    torch.testing.assert_close(logits(model), logits(other))


def test_weights_get_the_gradients_of_a_plain_weight_step():
    model, epoch = make_joint()
    with epoch:
        joint = loop(model, epoch, 0)
    plain, _ = make_joint()
    gates = plain.supernet.architecture_gates(build_estimator("st"), generator())
    with plain.supernet.routed([type(g)(g.active) for g in gates]):
        utterances, content = data(0)
        plain(**content, utt_id=utterances)[0].backward()
    found = {n: p.grad for n, p in plain.named_parameters() if p.grad is not None}
    assert found.keys() == joint.keys()
    assert all(torch.equal(found[n], joint[n]) for n in found)


def test_a_skipped_weight_step_skips_the_logits_and_leaves_nothing_behind():
    model, epoch = make_joint()
    start = logits(model)
    with epoch:
        loop(model, epoch, 3, skip=True)
        assert torch.equal(logits(model), start)
        loop(model, epoch, 0)
    other, other_epoch = make_joint()
    with other_epoch:
        loop(other, other_epoch, 0)
    assert not torch.equal(logits(other), start)
    assert torch.equal(logits(model), logits(other))


def test_hooks_are_gone_after_the_epoch():
    model, epoch = make_joint()
    with epoch:
        pass
    start = logits(model)
    loop(model, epoch, 0)
    assert torch.equal(logits(model), start)
    assert not model._forward_hooks


def test_proxyless_pairs_keep_other_probabilities():
    model, epoch = make_joint(estimator="proxyless")
    before = model.supernet.probabilities()[0]
    estimator = build_estimator("proxyless")
    gates = model.supernet.architecture_gates(estimator, generator())
    (other,) = {0, 1, 2} - gates[0].touched
    with epoch:
        loop(model, epoch, 0)
    after = model.supernet.probabilities()[0]
    torch.testing.assert_close(after[other], before[other])
    assert not torch.allclose(after, before)
