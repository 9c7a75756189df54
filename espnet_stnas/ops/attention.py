"""Common parts of operations with ESPnet's self-attention."""

from __future__ import annotations

from functools import partial
from typing import Any, Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.geometry import convolution_sides, past_frames
from espnet_stnas.notation.spec import OpSpec
from espnet_stnas.ops.base import Operation
from espnet_stnas.ops.caching import Cache, active_cache, caching
from espnet_stnas.ops.espnet import espnet_part
from espnet_stnas.ops.lengths import padding_mask
from espnet_stnas.ops.padding import keep_padding_out, set_sides, valid_lengths
from espnet_stnas.ops.streaming import Form, State

# Name of attention's frames in states.
PAST = "attention"


class RelativePositions(torch.nn.Module):
    """ESPnet's sinusoids of relative positions (``rel_pos``, ``latest``).

    An ESPnet encoder computes them once for all its layers. Here every operation
    computes its own, since its neighbours may be of any other kind. They are not part
    of the state dict.

    Args:
        operation: Name of the operation, for messages.
        width: Dimensions D of a frame, an even number.
        dropout_rate: Dropout probability of an element.
    """

    def __init__(self, operation: str, width: int, dropout_rate: float) -> None:
        super().__init__()
        encoding = espnet_part("RelPositionalEncoding", operation)
        # It grows on demand. ESPnet's default of 5000 frames in each operation of a
        # supernet would need more memory than the weights.
        self.encoding = encoding(width, dropout_rate, max_len=1)

    def forward(self, xs_pad: torch.Tensor, past: int = 0) -> torch.Tensor:
        """Compute the sinusoids (1, 2T - 1, D) for frames (B, T, D).

        The computation uses at least float32: the encoding caches its last result, so
        values that half precision has rounded would stay rounded.

        Args:
            xs_pad: Frames (B, T, D).
            past: So many frames more come before them.
        """
        dtype = torch.promote_types(xs_pad.dtype, torch.float32)
        # The encoding takes length, type and device from its input.
        frames = torch.zeros(
            (1, past + xs_pad.size(1)), dtype=dtype, device=xs_pad.device
        )
        return self.encoding(frames)[1].to(xs_pad.dtype)


class AttentionLayer(Operation):
    """One of ESPnet's encoder layers with self-attention, restricted to valid frames.

    The layer is pre-norm and has its own skip connections, so it needs no skip around
    it. As in ESPnet's encoders by default, attention weights have no dropout.

    With the option chunk (frames), a frame sees its own chunk and ``left`` frames
    before that chunk (default: two chunks), as in Chen et al. 2021 (arXiv:2010.11395).
    Chunks are counted from the first frame of the utterance.

    Raises:
        ConfigError: If the width is odd or not divisible by the number of heads.
    """

    streams = True

    def __init__(self, spec: OpSpec, **sizes: Any) -> None:
        super().__init__(spec, **sizes)
        options: dict[str, Any] = spec.options
        self.options = options
        heads, width = options["heads"], self.output_width
        if width % heads:
            raise ConfigError(
                f"operation '{spec}': option 'heads' is {heads}; accepted are divisors "
                f"of its width, which is {width}"
            )
        self.layer: torch.nn.Module
        self.positions: Optional[RelativePositions] = None

    def _set_layer(self, layer: torch.nn.Module) -> None:
        keep_padding_out(layer)
        self.layer = layer
        chunk = self.options.get("chunk")
        if chunk is not None:
            attention = next(
                m for m in layer.modules() if hasattr(m, "forward_attention")
            )
            past = past_frames(self.options)
            attention.register_forward_pre_hook(partial(_see_chunks, chunk, past))
            attention.register_forward_hook(_drop_past)

    def _set_sides(self, conv: str, kernel: str) -> None:
        """Give a convolution the sides that the options say; see set_sides."""
        before, after = convolution_sides(self.options, kernel)
        set_sides(self.layer, conv, before, after)

    def _attention(self, relative: bool) -> torch.nn.Module:
        """Build self-attention, with relative positions or without positions."""
        name = str(self.spec)
        if relative:
            check_even(self.spec, self.output_width)
            self.positions = RelativePositions(
                name, self.output_width, self.dropout_rate
            )
        part = "RelPositionMultiHeadedAttention" if relative else "MultiHeadedAttention"
        return espnet_part(part, name)(self.options["heads"], self.output_width, 0.0)

    def _feed_forward(self, activation: torch.nn.Module) -> torch.nn.Module:
        return espnet_part("PositionwiseFeedForward", str(self.spec))(
            self.output_width,
            self.options["feed_forward"] or 4 * self.output_width,
            self.dropout_rate,
            activation,
        )

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor, past: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform (B, T, D) to (B, T, D); see :class:`Operation`.

        Args:
            xs_pad: Input frames (B, T, D), zero where padded.
            ilens: Valid input frames (B,).
            past: Frames that attention has in its cache.
        """
        # The mask has the form of ESPnet's encoders: (B, 1, T), true where valid.
        mask = ~padding_mask(ilens, xs_pad.size(1)).unsqueeze(1)
        with valid_lengths(ilens):
            if self.positions is None:
                ys, _ = self.layer(xs_pad, mask)
            else:
                (ys, _), _ = self.layer((xs_pad, self.positions(xs_pad, past)), mask)
        self._forget_attention()
        return ys, ilens

    def streaming(self) -> Form:
        """Return a form with a cache, if only attention looks ahead."""
        left, right = self.spec.family.reach(self.options)
        if self.options.get("chunk") is None or right > 0:
            return super().streaming()
        return Cached(self)

    def _forget_attention(self) -> None:
        """Drop the weights (B, heads, T, T) that ESPnet's attention keeps for plots.

        The weights and their graph would outlive the step, for every candidate.
        ESPnet's plots are not affected: they read the weights earlier, in hooks of the
        attention.
        """
        for module in self.layer.modules():
            if isinstance(getattr(module, "attn", None), torch.Tensor):
                module.attn = None  # type: ignore[assignment]


def chunk_mask(frames: torch.Tensor, chunk: int, left: int) -> torch.Tensor:
    """Return which frames see which: true at the frames of a row that it sees.

    Args:
        frames: The numbers (T,) of the frames of an utterance.
        chunk: Frames of a chunk.
        left: Frames before its chunk that a frame sees.

    Returns:
        Boolean mask (T, T).

    >>> chunk_mask(torch.arange(4), chunk=2, left=1).int().tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1]]
    """
    start = (frames // chunk * chunk).unsqueeze(1)
    return (frames >= start - left) & (frames < start + chunk)


def _see_chunks(
    chunk: int, left: int, module: torch.nn.Module, inputs: tuple[Any, ...]
) -> tuple[Any, ...]:
    """Narrow the mask (B, 1, T), the last argument of attention, to (B, T, T).

    On a part of an utterance, the frames before it come to the front. They are queries,
    too, since ESPnet's relative positions are those of frames among themselves.
    """
    query, *others, mask = inputs
    cache = active_cache()
    past = 0
    if cache is not None:
        past = cache.before[PAST].size(1)
        query = cache.extended(PAST, query, left, dim=1)
        others[:2] = query, query
        mask = torch.cat([cache.valid(past, mask), mask], dim=2)
    # From the start of a chunk, or of the utterance.
    frames = torch.arange(-past, mask.size(2) - past, device=mask.device)
    return (query, *others, mask & chunk_mask(frames, chunk, left))


def _drop_past(module: torch.nn.Module, inputs: Any, ys: torch.Tensor) -> torch.Tensor:
    """Drop the output (B, T, D) of the frames that came to the front."""
    cache = active_cache()
    return ys if cache is None else ys[:, cache.before[PAST].size(1) :]


class Cached(Form):
    """Runs an attention layer on whole chunks.

    The state has the input frames of a chunk that is not complete, and what attention
    and convolutions keep.

    Args:
        layer: The operation; its convolutions see no frame after the present one.
    """

    def __init__(self, layer: AttentionLayer) -> None:
        super().__init__(layer.output_width)
        self.layer = layer
        self.past = past_frames(layer.options)
        self.kept = {
            name: (module.in_channels, int(module.taps_before))  # type: ignore[arg-type]
            for name, module in layer.layer.named_modules()
            if isinstance(module, torch.nn.Conv1d) and hasattr(module, "taps_before")
        }

    def start(self, like: torch.Tensor) -> State:
        """Return no frames, and zeros before convolutions (B, D, T)."""
        batch = like.size(0)
        return {
            "frames": like.new_zeros(batch, 0, self.width),
            PAST: like.new_zeros(batch, 0, self.width),
            **{name: like.new_zeros(batch, *size) for name, size in self.kept.items()},
        }

    def step(
        self, xs: torch.Tensor, state: State, final: bool
    ) -> tuple[torch.Tensor, State]:
        """Transform all whole chunks of (B, T, D); see :class:`Form`."""
        frames = torch.cat([state["frames"], xs], dim=1)
        chunk = self.layer.options["chunk"]
        count = frames.size(1) if final else frames.size(1) // chunk * chunk
        if count == 0:
            return frames[:, :0], {**state, "frames": frames}
        with caching(Cache(state)) as cache:
            lengths = torch.full((frames.size(0),), count, device=frames.device)
            ys, _ = self.layer(frames[:, :count], lengths, state[PAST].size(1))
        return ys, {**cache.after, "frames": frames[:, count:]}


def check_even(spec: OpSpec, width: int) -> None:
    """Refuse an odd width, since sinusoids come in pairs of sine and cosine.

    Raises:
        ConfigError: If the width is odd.
    """
    if width % 2:
        raise ConfigError(
            f"operation '{spec}' has width {width}; accepted are even widths, since "
            "positions are pairs of a sine and a cosine"
        )
