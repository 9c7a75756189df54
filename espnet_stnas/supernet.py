"""The supernet: a chain in which some layers are choices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Optional

import torch

from espnet_stnas.choice import ChoiceLayer
from espnet_stnas.estimators.base import Estimator, Gate, probabilities
from espnet_stnas.network import Network, NetworkLayer
from espnet_stnas.space import LayerShape, SearchSpace

Gates = tuple[Gate, ...]


class Supernet(Network):
    """A chain of choice layers and fixed layers.

    Which candidates run is decided from outside, by :meth:`routed`. Without it, an
    evaluation runs the arg-max architecture and training is refused.

    Args:
        layers: The layers, from input to output.
        space: The search space.
    """

    def __init__(self, layers: Sequence[NetworkLayer], space: SearchSpace) -> None:
        super().__init__(layers)
        self.space = space
        self._gates: Optional[Gates] = None

    @property
    def choice_layers(self) -> tuple[ChoiceLayer, ...]:
        """The layers that are choices, in order."""
        return tuple(la for la in self.layers if isinstance(la, ChoiceLayer))

    @property
    def logits(self) -> tuple[torch.nn.Parameter, ...]:
        """The architecture logits of all choices, in order: (K_1,), (K_2,), ..."""
        return tuple(layer.logits for layer in self.choice_layers)

    def probabilities(self) -> tuple[torch.Tensor, ...]:
        """The probabilities pi of all choices, in order, detached: (K_1,), ..."""
        return tuple(probabilities(logits.detach()) for logits in self.logits)

    def architecture(self) -> SearchSpace:
        """The architecture with the most probable candidate of every choice.

        Of equally probable candidates, the first counts.
        """
        return self.space.resolve([int(pi.argmax()) for pi in self.probabilities()])

    def architecture_gates(
        self, estimator: Estimator, generator: torch.Generator
    ) -> Gates:
        """Draw the gates of an architecture step."""
        return tuple(
            estimator.architecture_gate(logits, generator) for logits in self.logits
        )

    def weight_gates(self, estimator: Estimator, generator: torch.Generator) -> Gates:
        """Draw the gates of a weight step."""
        return tuple(estimator.weight_gate(logits, generator) for logits in self.logits)

    @contextmanager
    def routed(self, gates: Sequence[Gate]) -> Iterator[None]:
        """Use these gates, one per choice, in every forward inside the context.

        Raises:
            ValueError: If their number is not that of the choices.
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
        """Run the chain, each choice as its gate says; see :class:`Network`.

        Raises:
            RuntimeError: If it is in training mode and nothing draws paths.
        """
        gates = iter(self._gates_or_best())
        xs_pad = self.zero_input(xs_pad, ilens)
        for layer in self.layers:
            if isinstance(layer, ChoiceLayer):
                xs_pad, ilens = layer(xs_pad, ilens, next(gates))
            else:
                xs_pad, ilens = layer(xs_pad, ilens)
        return xs_pad, ilens

    def _gates_or_best(self) -> Gates:
        if self._gates is not None:
            return self._gates
        if self.training:
            raise RuntimeError(
                f"this encoder is a search space with {len(self.space.choices)} "
                "choices, and its training needs paths to be drawn: train it with "
                "'python3 -m espnet_stnas.bin.asr_search', or train an architecture "
                "that 'python3 -m espnet_stnas.bin.derive' made from a search"
            )
        return tuple(Gate((int(pi.argmax()),)) for pi in self.probabilities())


def build_supernet(space: SearchSpace, shapes: Sequence[LayerShape]) -> Supernet:
    """Build the supernet of a space whose layers have the given sizes."""
    layers = [
        (ChoiceLayer if layer.is_choice else NetworkLayer)(layer, shape, space)
        for layer, shape in zip(space.layers, shapes, strict=True)
    ]
    return Supernet(layers, space)


def find_supernet(model: torch.nn.Module) -> Supernet:
    """The supernet inside a model.

    Raises:
        RuntimeError: If there is none.
    """
    for module in model.modules():
        if isinstance(module, Supernet):
            return module
    raise RuntimeError("the model has no supernet to search")


@contextmanager
def frozen_statistics(model: torch.nn.Module) -> Iterator[None]:
    """Keep the running statistics of all batch norms of a model in training mode.

    An architecture step normalises by its batch as a weight step does, but must not
    change the network: its data are not training data of the weights.
    """
    norms = [
        m
        for m in model.modules()
        if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)
        and m.track_running_stats
    ]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
