"""Variance of architecture gradients, over batches and draws, early in a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

import torch
import torch.nn.functional as F

from espnet_stnas.estimators import build_estimator
from espnet_stnas.network.network import build_network
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.ops.norm import frozen_statistics
from espnet_stnas.supernet.supernet import Supernet, build_supernet, frozen_weights

WIDTH = 32
BATCH = 8
CLASSES = 24
FRAMES = 60
TRAINING_STEPS = 50


class SmallSupernet:
    """A narrow supernet of a space, after some training on a made-up task.

    The task is to name the largest output of another random network of the space, on
    white noise, frame by frame (cross-entropy). Weights are trained with uniform paths,
    as in a warm-up; then the logits are drawn.

    Args:
        space: The search space; its operations keep widths of their own.
        input_size: Dimensions of an input frame.
        logits_sd: Standard deviation of the logits; 0 is the start of a search.
        seed: Seed of everything.
    """

    def __init__(
        self, space: SearchSpace, input_size: int, logits_sd: float, seed: int
    ) -> None:
        small = SearchSpace.from_conf({**space.to_conf(), "width": WIDTH})
        torch.manual_seed(seed)
        self.input_size = input_size
        path = [0] * len(small.choices)
        self.teacher = build_network(small.resolve(path), input_size).eval()
        width = small.output_width(input_size)
        self.heads = [torch.nn.Linear(width, CLASSES) for _ in range(2)]
        supernet = build_supernet(small, input_size)
        assert isinstance(supernet, Supernet)
        self.supernet = supernet.train()
        self.generator = torch.Generator().manual_seed(seed)
        logits = {id(p) for p in supernet.logits}
        weights = [p for p in supernet.parameters() if id(p) not in logits]
        weights += self.heads[0].parameters()
        optimizer = torch.optim.Adam(weights, lr=1e-2)
        uniform = build_estimator("uniform")
        for _ in range(TRAINING_STEPS):
            optimizer.zero_grad()
            with supernet.routed(supernet.weight_gates(uniform, self.generator)):
                self.loss(self.generator).backward()
            optimizer.step()
        for alpha in supernet.logits:
            torch.nn.init.normal_(alpha, std=logits_sd)

    def loss(self, generator: torch.Generator) -> torch.Tensor:
        """The loss () on a new batch."""
        xs = torch.randn(BATCH, FRAMES, self.input_size, generator=generator)
        ilens = torch.full((BATCH,), FRAMES)
        with torch.no_grad():
            targets = self.heads[1](self.teacher(xs, ilens)[0]).argmax(2)
        outputs = self.heads[0](self.supernet(xs, ilens)[0])
        return F.cross_entropy(outputs.transpose(1, 2), targets)

    def gradients(
        self, name: str, conf: Optional[Mapping[str, Any]], draws: int, seed: int
    ) -> torch.Tensor:
        """Gradients (draws, logits) of an estimator, each on a batch of its own.

        Args:
            name: Name of the estimator.
            conf: Its options.
            draws: How many gradients.
            seed: Seed of batches, paths and dropout, the same for all estimators.
        """
        estimator = build_estimator(name, conf)
        supernet = self.supernet
        batches = torch.Generator().manual_seed(seed)
        paths = torch.Generator().manual_seed(seed + 1)
        torch.manual_seed(seed)
        rows = []
        for _ in range(draws):
            gates = supernet.architecture_gates(estimator, paths)
            with (
                supernet.routed(gates),
                frozen_weights(supernet, supernet.logits),
                frozen_statistics(supernet),
            ):
                loss = self.loss(batches)
            rows.append(torch.cat(torch.autograd.grad(loss, supernet.logits)))
        return torch.stack(rows)
