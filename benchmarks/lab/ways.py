"""Ways to train the weights of a supernet, compared at equal cost.

Each way makes an update of the weights from one batch. ``PASSES`` is the number of
paths that an update trains: a way with three has a third of the updates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F

from espnet_stnas.estimators.base import Estimator, Gate
from espnet_stnas.supernet.supernet import Supernet
from lab.corpus import Batch
from lab.model import Recogniser

Gates = Sequence[Gate]
Losses = Iterator[torch.Tensor]


def one(
    model: Recogniser, batch: Batch, draw: Callable[[], Gates], done: float
) -> Losses:
    """Train one path that the estimator draws: the paper's way."""
    yield _loss(model, batch, draw())


def two(
    model: Recogniser, batch: Batch, draw: Callable[[], Gates], done: float
) -> Losses:
    """Train two paths on the same batch."""
    for _ in range(2):
        yield _loss(model, batch, draw()) / 2


def fair(
    model: Recogniser, batch: Batch, draw: Callable[[], Gates], done: float
) -> Losses:
    """Train each candidate of each choice once in every update (FairNAS)."""
    orders = [
        torch.randperm(len(block.logits)).tolist()
        for block in _supernet(model).choice_blocks
    ]
    paths = list(zip(*orders, strict=True))
    for path in paths:
        yield _loss(model, batch, [Gate((k,)) for k in path]) / len(paths)


def sandwich(
    model: Recogniser, batch: Batch, draw: Callable[[], Gates], done: float
) -> Losses:
    """Train the largest, the smallest and a random path (once for all, slimmable)."""
    largest, smallest = ends(_supernet(model))
    for gates in (largest, smallest, draw()):
        yield _loss(model, batch, gates) / 3


def distilled(
    model: Recogniser, batch: Batch, draw: Callable[[], Gates], done: float
) -> Losses:
    """Do the same, but the others learn the frames' posteriors of the largest, too."""
    largest, smallest = ends(_supernet(model))
    with _supernet(model).routed(largest):
        teacher, olens = model.log_probabilities(batch)
    yield model.loss(teacher, olens, batch) / len(batch.lengths) / 3
    mask = torch.arange(teacher.size(1)) < olens[:, None]
    for gates in (smallest, draw()):
        with _supernet(model).routed(gates):
            log_p, _ = model.log_probabilities(batch)
        ctc = model.loss(log_p, olens, batch) / len(batch.lengths)
        frames = F.kl_div(log_p, teacher.detach(), reduction="none", log_target=True)
        soft = (frames.sum(2) * mask).sum() / len(batch.lengths)
        yield (ctc + soft) / 2 / 3


def growing(
    model: Recogniser, batch: Batch, draw: Callable[[], Gates], done: float
) -> Losses:
    """Train the largest path, then paths of more and more candidates (progressive)."""
    supernet = _supernet(model)
    gates = []
    for block, gate in zip(supernet.choice_blocks, draw(), strict=True):
        order = sorted(range(len(block.logits)), key=lambda k: -_weights(block, k))
        # All candidates from the middle of the training on.
        open_ones = min(len(order), 1 + int(2 * done * (len(order) - 1) + 0.5))
        gates.append(Gate((order[gate.active[0] % open_ones],)))
    yield _loss(model, batch, gates)


def reference(
    model: Recogniser, batch: Batch, draw: Callable[[], Gates], done: float
) -> Losses:
    """Train the largest path alone for a fifth of the training, then random ones."""
    gates = ends(_supernet(model))[0] if done < 0.2 else draw()
    yield _loss(model, batch, gates)


def first(
    model: Recogniser, batch: Batch, draw: Callable[[], Gates], done: float
) -> Losses:
    """Train paths whose first choice, the one without a skip, is never drawn."""
    yield _loss(model, batch, [Gate((FIRST,)), *list(draw())[1:]])


# The candidate that the way ``first`` fixes: tdnn-C2D1.
FIRST = 2
WAYS = {
    f.__name__: f
    for f in (one, two, fair, sandwich, distilled, growing, reference, first)
}
PASSES = {"two": 2, "fair": 4, "sandwich": 3, "distilled": 3}


def update(
    way: str,
    model: Recogniser,
    batch: Batch,
    estimator: Estimator,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    done: float,
) -> None:
    """Update the weights once.

    Args:
        way: Name of the way.
        model: The supernet's recogniser.
        batch: Trains it.
        estimator: Draws paths.
        optimizer: Updates the weights.
        generator: Source of the draws.
        done: Part of the training that is over, from 0 to 1.
    """
    supernet = _supernet(model)
    optimizer.zero_grad()
    for loss in WAYS[way](
        model, batch, lambda: supernet.weight_gates(estimator, generator), done
    ):
        loss.backward()
    optimizer.step()


def ends(supernet: Supernet) -> tuple[list[Gate], list[Gate]]:
    """Return the gates of the paths with most and with fewest weights."""
    found = []
    for sign in (-1, 1):
        found.append(
            [
                Gate((min(range(len(b.logits)), key=lambda k: sign * _weights(b, k)),))
                for b in supernet.choice_blocks
            ]
        )
    return found[0], found[1]


def _weights(block: torch.nn.Module, k: int) -> int:
    return sum(p.numel() for p in block.state_of(k).values())  # type: ignore[operator]


def _supernet(model: Recogniser) -> Supernet:
    assert isinstance(model.encoder, Supernet)
    return model.encoder


def _loss(model: Recogniser, batch: Batch, gates: Gates) -> torch.Tensor:
    with _supernet(model).routed(gates):
        return model(batch)
