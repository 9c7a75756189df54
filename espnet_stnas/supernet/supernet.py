"""The supernet: a network in which some layers are choices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators.base import Estimator, Gate, probabilities
from espnet_stnas.network.network import Network, NetworkLayer, check_size
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.supernet.choice import ChoiceBlock

Gates = tuple[Gate, ...]


class Supernet(Network):
    """Choice blocks and fixed layers in one network.

    The context :meth:`routed` sets the candidates to run. Outside of it, an evaluation
    runs the arg-max architecture, and training raises an error.

    Args:
        layers: The layers, from input to output.
        space: The search space.
    """

    def __init__(self, layers: Sequence[NetworkLayer], space: SearchSpace) -> None:
        super().__init__(layers, space)
        self._gates: Optional[Gates] = None

    @property
    def choice_blocks(self) -> tuple[ChoiceBlock, ...]:
        """All choice blocks, in order; several may share a choice."""
        return tuple(la for la in self.layers if isinstance(la, ChoiceBlock))

    @property
    def blocks_of_choices(self) -> tuple[tuple[ChoiceBlock, ...], ...]:
        """For each choice, in order, the choice blocks that share it."""
        numbers = self.space.choice_numbers
        return tuple(
            tuple(
                layer  # type: ignore[misc]
                for layer, number in zip(self.layers, numbers, strict=True)
                if number == choice
            )
            for choice in range(len(self.space.choices))
        )

    @property
    def logits(self) -> tuple[torch.nn.Parameter, ...]:
        """The architecture logits of all choices, in order: (K_1,), (K_2,), ..."""
        return tuple(self._logits_of(index) for index in self.space.first_layers)

    def _logits_of(self, index: int) -> torch.nn.Parameter:
        layer = self.layers[index]
        assert isinstance(layer, ChoiceBlock)
        return layer.logits

    @property
    def score_offsets(self) -> tuple[torch.Tensor, ...]:
        """The running means (2,) for sub-graphs, one per choice block, in order."""
        return tuple(layer.score_offset for layer in self.choice_blocks)

    def probabilities(self) -> tuple[torch.Tensor, ...]:
        """Return the probabilities pi of all choices, detached: (K_1,), (K_2,), ..."""
        return tuple(probabilities(logits.detach()) for logits in self.logits)

    def architecture(self) -> SearchSpace:
        """Return the architecture with the most probable candidate of every choice.

        Of equally probable candidates, the first one is taken.
        """
        return self.space.resolve([int(pi.argmax()) for pi in self.probabilities()])

    def largest_path(self) -> tuple[int, ...]:
        """Return the candidate with most weights of every choice (first of equals)."""
        return tuple(sizes.index(max(sizes)) for sizes in self._weights_of_candidates())

    def smallest_path(self) -> tuple[int, ...]:
        """Return the candidate with fewest weights of every choice."""
        return tuple(sizes.index(min(sizes)) for sizes in self._weights_of_candidates())

    def _weights_of_candidates(self) -> Iterator[list[int]]:
        for blocks in self.blocks_of_choices:
            yield [
                sum(v.numel() for block in blocks for v in block.state_of(k).values())
                for k in range(len(blocks[0].logits))
            ]

    def architecture_gates(
        self,
        estimator: Estimator,
        generator: torch.Generator,
        logits: Optional[Sequence[torch.Tensor]] = None,
    ) -> Gates:
        """Draw the gates of an architecture step.

        Args:
            estimator: The estimator that draws them.
            generator: Source of all random draws.
            logits: (K_1,), (K_2,), ...: logits to use instead of the supernet's own.
        """
        return _draw(estimator.architecture_gate, logits or self.logits, generator)

    def weight_gates(self, estimator: Estimator, generator: torch.Generator) -> Gates:
        """Draw the gates of a weight step."""
        with torch.no_grad():
            return _draw(estimator.weight_gate, self.logits, generator)

    @contextmanager
    def routed(self, gates: Sequence[Gate]) -> Iterator[None]:
        """Use these gates, one per choice, in every forward pass inside the context.

        Raises:
            ValueError: If the number of gates differs from the number of choices.
        """
        if len(gates) != len(self.space.choices):
            raise ValueError(
                f"{len(gates)} gates for {len(self.space.choices)} choices"
            )
        previous, self._gates = self._gates, tuple(gates)
        try:
            yield
        finally:
            self._gates = previous

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the layers, each choice block with its gate; see :class:`Network`.

        Raises:
            RuntimeError: If the supernet is in training mode outside of :meth:`routed`.
        """
        gates = self._gates_or_best()
        extra = [
            () if number is None else (gates[number],)
            for number in self.space.choice_numbers
        ]
        return self._run(xs_pad, ilens, extra)

    def _gates_or_best(self) -> Gates:
        if self._gates is not None:
            return self._gates
        if self.training:
            raise RuntimeError(
                f"this encoder is a search space with {len(self.space.choices)} "
                "choices, and its training needs paths to be drawn: train it with "
                "'stnas search', or train an architecture "
                "that 'stnas derive' made from a search"
            )
        return tuple(Gate((int(pi.argmax()),)) for pi in self.probabilities())


def _draw(
    draw: Callable[[torch.Tensor, torch.Generator], Gate],
    logits: Sequence[torch.Tensor],
    generator: torch.Generator,
) -> Gates:
    """Draw gates on the CPU, with one transfer in each direction.

    There are few logits, and a GPU would have to wait at each draw.
    """
    device = logits[0].device
    flat = torch.cat(list(logits)).cpu()
    gates = [draw(a, generator) for a in flat.split([len(a) for a in logits])]
    if device.type == "cpu":
        return tuple(gates)
    filled = [g for g in gates if g.coefficients is not None]
    if not filled:
        return tuple(gates)
    coefficients = torch.cat([g.coefficients for g in filled]).to(device)  # type: ignore[misc]
    moved = iter(coefficients.split([len(g.coefficients) for g in filled]))  # type: ignore[arg-type]
    return tuple(
        g if g.coefficients is None else replace(g, coefficients=next(moved))
        for g in gates
    )


def path_generator(
    seed: int, epoch: int, step: int, role: str, rank: int = 0
) -> torch.Generator:
    """Return a CPU generator whose state depends only on the arguments.

    Paths drawn from it do not change after a resume. They are equal on all ranks of a
    distributed search if all ranks pass rank 0. Other random draws have no effect.

    Args:
        seed: Seed of the search.
        epoch: Epoch, from 1.
        step: Step of the epoch, from 1.
        role: Purpose of the draws, e.g. ``weights`` or ``architecture``.
        rank: The rank, if each rank draws its own paths.

    >>> one, other = (path_generator(0, 1, 7, "weights") for _ in range(2))
    >>> torch.equal(torch.rand(2, generator=one), torch.rand(2, generator=other))
    True
    """
    text = "/".join(str(x) for x in (seed, epoch, step, role, *([rank] * (rank > 0))))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(number)


def build_supernet(space: SearchSpace, input_size: int) -> Supernet:
    """Build the supernet of a search space.

    Args:
        space: The search space.
        input_size: Dimensions of an input frame.

    Raises:
        ConfigError: If the space has no choice, sizes do not fit together, or the
            network is too large.

    >>> conf = {"layers": [["tdnn-C1D1", "tdnn-C1D2"], "tdnn-C1S3D1"], "width": 64}
    >>> supernet = build_supernet(SearchSpace.from_conf(conf), input_size=40).eval()
    >>> with supernet.routed([Gate(active=(1,))]):  # runs tdnn-C1D2
    ...     ys, olens = supernet(torch.randn(2, 9, 40), torch.tensor([9, 4]))
    >>> tuple(ys.shape), [pi.tolist() for pi in supernet.probabilities()]
    ((2, 3, 64), [[0.5, 0.5]])
    """
    if space.is_architecture:
        raise ConfigError("encoder_conf: layers holds no choice to search")
    check_size(space, input_size)
    layers = [
        (ChoiceBlock if layer.is_choice else NetworkLayer)(layer, shape, space)
        for layer, shape in zip(space.layers, space.shapes(input_size), strict=True)
    ]
    first = space.first_layers
    for layer, number in zip(layers, space.choice_numbers, strict=True):
        if isinstance(layer, ChoiceBlock) and number is not None:
            # Layers that share a choice also share the parameter of its logits.
            layer.logits = layers[first[number]].logits  # type: ignore[assignment]
    return Supernet(layers, space)


def find_supernet(model: torch.nn.Module) -> Supernet:
    """Return the supernet inside a model.

    Raises:
        RuntimeError: If the model contains no supernet.
    """
    for module in model.modules():
        if isinstance(module, Supernet):
            return module
    raise RuntimeError("the model has no supernet to search")


@contextmanager
def frozen_weights(
    model: torch.nn.Module, learning: Sequence[torch.Tensor]
) -> Iterator[None]:
    """Exclude all parameters except the given ones from the graph that is built.

    An architecture step then stores nothing for the gradients of weights, and its
    backward pass ends at the first choice.

    Args:
        model: The model.
        learning: The parameters (any shape) that still get gradients.
    """
    kept = {id(p) for p in learning}
    frozen = [p for p in model.parameters() if p.requires_grad and id(p) not in kept]
    for p in frozen:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in frozen:
            p.requires_grad_(True)
