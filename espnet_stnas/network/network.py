"""The fixed network of an architecture, and its layers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.shapes import LayerShape
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.topology import Algebra, Layer, Node, fold
from espnet_stnas.ops import Operation, build_operation
from espnet_stnas.ops.lengths import reversed_frames, zero_padding
from espnet_stnas.ops.sharing import own_state

Frames = tuple[torch.Tensor, torch.Tensor]
"""Frames (B, T, D) and their valid lengths (B,)."""
Extra = Sequence[tuple[Any, ...]]
"""For each layer, what it takes besides frames and lengths, such as a gate."""
Run = Callable[["Network", Extra, torch.Tensor, torch.Tensor], Frames]
"""Runs layers and blocks of a network."""

# These take 4 GB. The paper's supernet has 45 million parameters.
MOST_PARAMETERS = 1_000_000_000


class NetworkLayer(torch.nn.Module):
    """One layer: its operations, and a skip connection if the shape has one.

    Operations are submodules under their canonical short form, so the keys of a state
    dict identify the architecture that its weights belong to.

    Args:
        layer: The candidate operations.
        shape: Widths of the layer and whether it has a skip.
        space: Gives the settings that all layers share.
    """

    def __init__(self, layer: Layer, shape: LayerShape, space: SearchSpace) -> None:
        super().__init__()
        self.layer = layer
        self.skip = shape.skip
        self._names = [str(spec) for spec in layer.candidates]
        for name, spec in zip(self._names, layer.candidates, strict=True):
            self.add_module(
                name,
                build_operation(
                    spec, shape.input_width, shape.width, space.dropout_rate
                ),
            )

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The modules of the candidate operations, in order."""
        # Looked up each time, since exports put other modules in their places.
        return tuple(self._modules[name] for name in self._names)  # type: ignore[misc]

    def state_of(self, index: int) -> dict[str, torch.Tensor]:
        """Return the state dict of one operation, with its slices of shared weights."""
        return own_state(self.operations[index])

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform (B, T, D) with the only operation of a fixed layer."""
        ys, olens = self.operations[0](xs_pad, ilens)
        ys = zero_padding(ys, olens)
        return (xs_pad + ys if self.skip else ys), olens


class Network(torch.nn.Module):
    """Runs fixed layers along the topology of their space.

    Args:
        layers: The layers, from input to output.
        space: The architecture.
    """

    def __init__(self, layers: Iterable[NetworkLayer], space: SearchSpace) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)
        self.space = space

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the layers.

        Args:
            xs_pad: Frames (B, T, D); padding may hold anything.
            ilens: Valid frames (B,).

        Returns:
            Frames (B, T', D'), zero where padded, and valid lengths (B,).
        """
        return self._run(xs_pad, ilens, [()] * len(self.layers))

    def _run(self, xs_pad: torch.Tensor, ilens: torch.Tensor, extra: Extra) -> Frames:
        """Pass (B, T, D) through the layers as they are wired."""
        run = _wired(self.space.nodes)
        return run(self, extra, self.zero_input(xs_pad, ilens), ilens)

    @staticmethod
    def zero_input(xs_pad: torch.Tensor, ilens: torch.Tensor) -> torch.Tensor:
        """Cut (B, T, D) to the longest utterance and zero its padding."""
        return zero_padding(xs_pad[:, : int(ilens.max())], ilens)


@functools.cache
def _wired(nodes: tuple[Node, ...]) -> Run:
    """Run nodes; layers are known by index only, so networks of one wiring share it."""
    return fold(nodes, _Wiring())


class _Wiring(Algebra[Run]):
    """Runs layers and blocks."""

    def layer(self, index: int) -> Run:
        return lambda network, extra, xs_pad, ilens: network.layers[index](
            xs_pad, ilens, *extra[index]
        )

    def chain(self, parts: Sequence[Run]) -> Run:
        def run(
            network: Network, extra: Extra, xs_pad: torch.Tensor, ilens: torch.Tensor
        ) -> Frames:
            for part in parts:
                xs_pad, ilens = part(network, extra, xs_pad, ilens)
            return xs_pad, ilens

        return run

    def residual(self, body: Run, shortcut: Run) -> Run:
        def run(
            network: Network, extra: Extra, xs_pad: torch.Tensor, ilens: torch.Tensor
        ) -> Frames:
            ys, olens = body(network, extra, xs_pad, ilens)
            return ys + shortcut(network, extra, xs_pad, ilens)[0], olens

        return run

    def bidirectional(self, ahead: Run, back: Run) -> Run:
        def run(
            network: Network, extra: Extra, xs_pad: torch.Tensor, ilens: torch.Tensor
        ) -> Frames:
            ys, olens = ahead(network, extra, xs_pad, ilens)
            mirrored = reversed_frames(xs_pad, ilens)
            backward, _ = back(network, extra, mirrored, ilens)
            return torch.cat([ys, reversed_frames(backward, olens)], dim=2), olens

        return run

    def cell(self, bodies: Sequence[Run], skips: Sequence[Sequence[Run]]) -> Run:
        def run(
            network: Network, extra: Extra, xs_pad: torch.Tensor, ilens: torch.Tensor
        ) -> Frames:
            points = [(xs_pad, ilens)]
            for body, own in zip(bodies, skips, strict=True):
                ys, olens = body(network, extra, *points[-1])
                for point, skip in zip(points, own, strict=True):
                    ys = ys + skip(network, extra, *point)[0]
                points.append((ys, olens))
            return points[-1]

        return run


def check_size(space: SearchSpace, input_size: int) -> None:
    """Refuse a network that does not fit into memory, before anything is allocated.

    The check builds the network without its numbers (on the meta device). So an
    operation that does not accept its sizes is also found before anything is built.

    Args:
        space: A search space or an architecture.
        input_size: Dimensions of an input frame.

    Raises:
        ConfigError: If it has too many parameters, or sizes do not fit together.
    """
    total = 0
    with torch.device("meta"):
        for number, (layer, shape) in enumerate(
            zip(space.layers, space.shapes(input_size), strict=True), start=1
        ):
            built = NetworkLayer(layer, shape, space)
            total += sum(p.numel() for p in built.parameters())
            if total > MOST_PARAMETERS:
                raise ConfigError(
                    f"encoder_conf: layers 1 to {number} have {total} parameters with "
                    f"width {space.width} and input_size {input_size}; accepted are "
                    f"at most {MOST_PARAMETERS}, so make width, context or the number "
                    "of layers smaller"
                )


def build_network(space: SearchSpace, input_size: int) -> Network:
    """Build the fixed network of an architecture.

    Args:
        space: The architecture.
        input_size: Dimensions of an input frame.

    Raises:
        ConfigError: If the space has choices, sizes do not fit together, or the network
            is too large.

    >>> conf = {"layers": ["tdnn-C1S3D1", "tdnn-C1D2"], "width": 64}
    >>> network = build_network(SearchSpace.from_conf(conf), input_size=40).eval()
    >>> ys, olens = network(torch.randn(2, 9, 40), torch.tensor([9, 4]))
    >>> tuple(ys.shape), olens.tolist()
    ((2, 3, 64), [3, 2])
    """
    if not space.is_architecture:
        raise ConfigError(
            f"the space has {len(space.choices)} choices; accepted is an architecture, "
            "in which every layer has one operation"
        )
    check_size(space, input_size)
    shapes = space.shapes(input_size)
    layers = (
        NetworkLayer(layer, shape, space)
        for layer, shape in zip(space.layers, shapes, strict=True)
    )
    return Network(layers, space)
