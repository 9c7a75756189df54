"""A fixed network that runs chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.network.network import Network, NetworkLayer
from espnet_stnas.notation.reach import view_of
from espnet_stnas.notation.topology import Algebra, fold
from espnet_stnas.ops.streaming import Form, Pointwise, Sequential, State, Sum

__all__ = ["State", "Stream"]


class Stream:
    """Runs a fixed network on parts of utterances, as if on the whole of them.

    A call is a pure function: it changes neither the network nor the state that it is
    given. All utterances of a batch begin and end together.

    Args:
        network: The network of an architecture, in evaluation.

    Raises:
        ConfigError: If an operation or a block cannot run chunk by chunk; the message
            names it.

    >>> from espnet_stnas.network.network import build_network
    >>> from espnet_stnas.notation.space import SearchSpace
    >>> conf = {"layers": ["tdnn-C2R0S2D1", "tdnn-C1D1"], "width": 16}
    >>> network = build_network(SearchSpace.from_conf(conf), input_size=4).eval()
    >>> xs = torch.randn(1, 30, 4)
    >>> stream = Stream(network)
    >>> state = stream.start()
    >>> one, state = stream(xs[:, :20], state)
    >>> two, state = stream(xs[:, 20:], state, final=True)
    >>> whole, _ = network(xs, torch.tensor([30]))
    >>> one.size(1), two.size(1), torch.allclose(torch.cat([one, two], 1), whole)
    (9, 6, True)
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        view = view_of(network.space)
        first = network.layers[0]
        assert isinstance(first, NetworkLayer)
        self.input_width = first.operations[0].input_width
        """Dimensions of an input frame."""
        self.stride = view.stride
        """Input frames per output frame."""
        self.look_ahead = view.right
        """Input frames that an output frame waits for, at most."""
        self.form = fold(network.space.nodes, _Forms(network))
        """How the layers and blocks run, as one."""

    def start(self, batch: int = 1, like: Optional[torch.Tensor] = None) -> State:
        """Return the state before the first frame.

        Args:
            batch: Number of utterances B.
            like: Gives type and device (any shape); None: a weight of the network.

        Returns:
            Tensors (B, ...) by their names.
        """
        if like is None:
            like = next(self.network.parameters(), torch.zeros(0))
        return self.form.start(like.detach().new_zeros(batch))

    def __call__(
        self, xs: torch.Tensor, state: State, final: bool = False
    ) -> tuple[torch.Tensor, State]:
        """Transform the next frames of utterances.

        Args:
            xs: Frames (B, T, D) without padding; T may change from call to call, and
                may be 0.
            state: What :meth:`start` or the last call returned.
            final: Whether the utterances end with these frames.

        Returns:
            The output frames (B, T', D') that are certain now and were not returned
            before, and the next state.

        Raises:
            ValueError: If the network is in training, the frames are of another width,
                or the state is not one of this network and batch.
        """
        if self.network.training:
            raise ValueError(
                "the network is in training, where batch norms and dropout look at "
                "whole batches; call its eval() first"
            )
        if xs.dim() != 3 or xs.size(2) != self.input_width:
            raise ValueError(
                f"the frames have the shape {tuple(xs.shape)}; accepted is (batch, "
                f"frames, {self.input_width})"
            )
        wanted = self.form.start(xs.new_zeros(len(xs)))
        batches = {len(value) for value in state.values()}
        if set(state) != set(wanted) or batches - {len(xs)}:
            raise ValueError(
                f"the state has {len(state)} tensors of batch {sorted(batches)}; "
                f"accepted are the {len(wanted)} tensors that start() or the last call "
                f"returned, of batch {len(xs)} as the frames"
            )
        return self.form.step(xs, state, final)


class _Forms(Algebra[Form]):
    """Finds the form of each layer and block."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def layer(self, index: int) -> Form:
        layer = self.network.layers[index]
        assert isinstance(layer, NetworkLayer)
        form = layer.operations[0].streaming()
        if layer.skip:
            return Sum(form, Pointwise(lambda xs, ilens: (xs, ilens), form.width))
        return form

    def chain(self, parts: Sequence[Form]) -> Form:
        return Sequential(parts)

    def residual(self, body: Form, shortcut: Form) -> Form:
        return Sum(body, shortcut)

    def cell(self, bodies: Sequence[Form], skips: Sequence[Sequence[Form]]) -> Form:
        raise ConfigError(
            "a cell cannot run chunk by chunk yet; accepted are chains of layers and "
            "residual blocks"
        )

    def bidirectional(self, ahead: Form, back: Form) -> Form:
        raise ConfigError(
            "a bidirectional block cannot run chunk by chunk, since its second branch "
            "begins at the end of the utterance; accepted are networks without such "
            "blocks"
        )
