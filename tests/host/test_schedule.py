"""The learning rate that rises, then falls to zero."""

from __future__ import annotations

import espnet2.tasks.abs_task as abs_task
import pytest
import torch

from espnet_stnas.host.schedule import WarmupLinearLR
from espnet_stnas.results.health import Health
from espnet_stnas.search.schedulers import after_warmup
from espnet_stnas.search.warmup import Warmup


def made(**conf):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=8.0)
    scheduler = abs_task.scheduler_classes["warmuplinearlr"](optimizer, **conf)
    return optimizer, scheduler


def rates(optimizer, scheduler, epochs, steps=4):
    found = []
    for _ in range(epochs):
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
        scheduler.step(1.0)
    return found


def test_it_rises_waits_for_the_first_epoch_and_falls_to_zero():
    optimizer, scheduler = made(warmup_steps=2, max_epoch=4)
    found = rates(optimizer, scheduler, 4)
    assert found[:4] == [4, 8, 8, 8]
    assert found[4:] == [6, 5.5, 5, 4.5, 4, 3.5, 3, 2.5, 2, 1.5, 1, 0.5]
    assert optimizer.param_groups[0]["lr"] == 0
    # ESPnet may go on with a larger max_epoch of its own.
    assert rates(optimizer, scheduler, 1) == [0] * 4


def test_a_warm_up_may_be_longer_than_an_epoch():
    optimizer, scheduler = made(warmup_steps=8, max_epoch=2)
    found = rates(optimizer, scheduler, 2)
    assert found == [1, 2, 3, 4, 2.5, 2.25, 1.75, 1]


def test_it_goes_on_from_its_state():
    optimizer, scheduler = made(warmup_steps=2, max_epoch=4)
    rates(optimizer, scheduler, 2)
    scheduler.step()
    other, resumed = made(warmup_steps=2, max_epoch=4)
    resumed.load_state_dict(scheduler.state_dict())
    for one in (scheduler, resumed):
        one.step()
    assert optimizer.param_groups[0]["lr"] == other.param_groups[0]["lr"] == 3


@pytest.mark.parametrize("conf", [{"warmup_steps": -1}, {"max_epoch": 0}])
def test_numbers_that_are_too_small(conf):
    with pytest.raises(ValueError, match="warmup_steps is .* and max_epoch"):
        made(**conf)


def test_logits_count_batches_and_epochs_after_their_warm_up():
    optimizer, scheduler = made(warmup_steps=2, max_epoch=2)
    delayed = after_warmup(scheduler, Warmup(1, 3, Health()))
    assert isinstance(scheduler, WarmupLinearLR)
    delayed.step(1.0)
    assert scheduler.epochs == 0
    assert rates(optimizer, delayed, 2) == [4, 8, 8, 8, 4, 3, 2, 1]
