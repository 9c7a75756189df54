"""The steps that search_step.py times, on a supernet and one of its paths."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Optional

import torch
from conv1d import with_conv1d

from espnet_stnas.estimators import Estimator, Gate, build_estimator
from espnet_stnas.network.network import build_network
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.ops.lengths import zero_padding
from espnet_stnas.ops.norm import frozen_statistics
from espnet_stnas.supernet.choice import ChoiceBlock
from espnet_stnas.supernet.supernet import Supernet, build_supernet, frozen_weights

OUTPUTS = 72
PAIR = {"subgraph_size": 2}


@dataclass(frozen=True)
class Step:
    """One kind of step.

    Args:
        kind: ``weights``, ``architecture``, ``joint``, ``reference`` (architecture
            step as the reference code does it) or ``conv1d`` (training step of the
            fixed network with `Conv1d` layers).
        estimator: Name of the estimator.
        conf: Its options.
        sharing: Whether the candidates of a choice share their weights (``kernel``) or
            not (``none``).
    """

    kind: str
    estimator: str = "st"
    conf: Optional[dict[str, Any]] = None
    sharing: str = "none"


STEPS = {
    "the same with layers of Conv1d": Step("conv1d"),
    "reference code's architecture step": Step("reference"),
    "weight step": Step("weights"),
    "architecture step, st": Step("architecture"),
    "weight step, shared kernel": Step("weights", sharing="kernel"),
    "architecture step, st, shared kernel": Step("architecture", sharing="kernel"),
    "joint step, st, shared kernel": Step("joint", sharing="kernel"),
    "architecture step, st, N = 2": Step("architecture", conf=PAIR),
    "architecture step, st, bfloat16 scores": Step(
        "architecture", conf={"score_dtype": "bfloat16"}
    ),
    "architecture step, st, 1/4 of the utterances": Step(
        "architecture", conf={"score_share": 0.25}
    ),
    "architecture step, reinmax": Step("architecture", "reinmax"),
    "architecture step, proxyless": Step("architecture", "proxyless"),
    "joint step, st": Step("joint"),
    "joint step, st, N = 2": Step("joint", conf=PAIR),
    "architecture step, darts": Step("architecture", "darts"),
    "weight step, darts": Step("weights", "darts"),
    "architecture step, snas": Step("architecture", "snas"),
    "weight step, snas": Step("weights", "snas"),
}


class Problem:
    """A supernet, the fixed network of one of its paths, and a batch.

    Args:
        space: The search space.
        batch: Utterances.
        frames: Frames of the longest one; the shortest has three quarters of them.
        input_size: Dimensions of an input frame.
        device: Where.
        seed: Seed of weights and data.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        batch: int,
        frames: int,
        input_size: int,
        device: torch.device,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        self.supernets = {
            sharing: build_supernet(replace(space, sharing=sharing), input_size)
            .to(device)
            .train()
            for sharing in ("none", "kernel")
        }
        self.supernet = self.supernets["none"]
        self.path = path_of_mean_cost(self.supernet, frames, seed)
        with torch.no_grad():
            for supernet in self.supernets.values():
                for logits, k in zip(supernet.logits, self.path, strict=True):
                    logits[k] = 30.0  # Estimators then draw this path.
        fixed = build_network(space.resolve(self.path), input_size)
        state = self.supernet.state_dict()
        fixed.load_state_dict({key: state[key] for key in fixed.state_dict()})
        self.fixed = fixed.to(device).train()
        self.conv1d = with_conv1d(self.fixed)
        # As in the paper; its cost is small.
        width = space.output_width(input_size)
        self.projection = torch.nn.Linear(width, OUTPUTS).to(device)
        lengths = torch.linspace(frames, 0.75 * frames, batch).long()
        self.inputs = (
            torch.randn(batch, frames, input_size, device=device),
            lengths.to(device),
        )
        with torch.no_grad():
            outputs = self.projection(self.fixed(*self.inputs)[0])
        self.gradient = torch.randn_like(outputs)
        self.generator = torch.Generator().manual_seed(seed)

    def loss(self, network: torch.nn.Module) -> torch.Tensor:
        """Some loss of the projected outputs whose own cost is small."""
        return (self.projection(network(*self.inputs)[0]) * self.gradient).sum()

    def exclude(self) -> list[torch.Tensor]:
        """What exists anyway, whatever a step saves."""
        modules = (*self.supernets.values(), self.fixed, self.conv1d, self.projection)
        tensors = [t for m in modules for t in (*m.parameters(), *m.buffers())]
        return [*tensors, *self.inputs, self.gradient]


def path_of_mean_cost(supernet: Supernet, frames: int, seed: int) -> list[int]:
    """Of many random paths, that whose parameters x frames are nearest to the mean."""
    costs = []
    for layer in supernet.layers:
        lengths = {op.spec.output_length(frames) for op in layer.operations}
        frames = max(lengths)
        if isinstance(layer, ChoiceBlock):
            sizes = [sum(p.numel() for p in o.parameters()) for o in layer.operations]
            costs.append([frames * (size + 1) for size in sizes])
    mean = sum(sum(c) / len(c) for c in costs)
    generator = random.Random(seed)
    paths = ([generator.randrange(len(c)) for c in costs] for _ in range(1000))
    return min(
        paths,
        key=lambda path: abs(
            sum(c[k] for c, k in zip(costs, path, strict=True)) - mean
        ),
    )


def forward_and_backward(
    problem: Problem, step: Optional[Step]
) -> tuple[Callable[[], torch.Tensor], Callable[[torch.Tensor], object]]:
    """The two halves of a step; None is the training step of the fixed network."""
    if step is None:
        return partial(problem.loss, problem.fixed), partial(_train, problem.fixed)
    if step.kind == "conv1d":
        return partial(problem.loss, problem.conv1d), partial(_train, problem.conv1d)
    supernet = problem.supernets[step.sharing]
    estimator = build_estimator(step.estimator, step.conf)
    backward: Callable[[torch.Tensor], object] = partial(_train, supernet)
    if step.kind in ("architecture", "reference"):
        backward = partial(torch.autograd.grad, inputs=supernet.logits)
    return partial(_routed_loss, problem, step, estimator), backward


def _routed_loss(problem: Problem, step: Step, estimator: Estimator) -> torch.Tensor:
    supernet = problem.supernets[step.sharing]
    draw = supernet.weight_gates
    with ExitStack() as stack:
        if step.kind != "weights":
            draw = supernet.architecture_gates
        if step.kind in ("architecture", "reference"):
            stack.enter_context(frozen_statistics(supernet))
        if step.kind == "architecture":
            stack.enter_context(frozen_weights(supernet, supernet.logits))
        if step.kind == "reference":
            stack.enter_context(as_the_reference_does(supernet))
        stack.enter_context(supernet.routed(draw(estimator, problem.generator)))
        return problem.loss(supernet)


def _train(network: torch.nn.Module, loss: torch.Tensor) -> None:
    network.zero_grad(set_to_none=True)
    loss.backward()


@contextmanager
def as_the_reference_does(supernet: Supernet) -> Iterator[None]:
    """Let choices run all candidates in the graph, and keep their outputs."""
    layers = supernet.choice_blocks
    for layer in layers:
        layer.forward = partial(_all_in_the_graph, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _all_in_the_graph(
    layer: ChoiceBlock, xs_pad: torch.Tensor, ilens: torch.Tensor, gate: Gate
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of c_k o_k(x), with c_k of value 0 or 1; only the sampled one passes on."""
    assert gate.coefficients is not None
    total: Any = 0.0
    for k, operation in enumerate(layer.operations):
        ys, olens = operation(xs_pad, ilens)
        total = total + gate.coefficients[k] * (ys if k in gate.active else ys.detach())
    return zero_padding(total, olens), olens
