"""The ESPnet encoder `stnas`: a supernet, or the fixed encoder of an architecture."""

from __future__ import annotations

from typing import Any, Optional

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder

from espnet_stnas.errors import ConfigError
from espnet_stnas.network.loading import digest_key, refuse_other_architecture
from espnet_stnas.network.network import Network, build_network
from espnet_stnas.network.stream import State, Stream
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.notation.zeros import refuse_zero


class STNASEncoder(AbsEncoder):
    """The ESPnet encoder that is built from the notation of layers.

    If any layer is a choice, this is a supernet for ``stnas search``. Otherwise it is a
    plain fixed encoder.

    Args:
        input_size: Dimensions of an input frame.
        layers: A list in which each item is an operation (``tdnn-C1S3D1``, or a mapping
            with the key ``op``), a list of candidate operations, or a mapping for
            repeated layers or a block (docs/notation.md).
        width: Output width of operations that do not give their own.
        dropout_rate: Dropout after each operation that has dropout.
        residual: Add a skip connection to every layer that keeps width and length.
        unknown: Other keys; they are refused with a message that names the accepted
            keys.

    Raises:
        ConfigError: If the configuration is wrong; the message names the key.
    """

    def __init__(
        self,
        input_size: int,
        layers: Optional[list] = None,
        width: int = 640,
        dropout_rate: float = 0.5,
        residual: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__()
        self.space = SearchSpace.from_conf(
            dict(
                layers=layers,
                width=width,
                dropout_rate=dropout_rate,
                residual=residual,
                **unknown,
            )
        )
        refuse_zero(self.space, input_size)
        self.network = _build(self.space, input_size)
        self._output_size = self.space.output_width(input_size)
        # Its name identifies the architecture in a checkpoint; its value is not used.
        self.register_buffer(digest_key(self.space), torch.zeros(1))
        self.register_load_state_dict_pre_hook(refuse_other_architecture)

    def output_size(self) -> int:
        """Return the dimensions of an output frame."""
        return self._output_size

    def forward(
        self,
        xs_pad: torch.Tensor,
        ilens: torch.Tensor,
        prev_states: Optional[State] = None,
        is_final: bool = True,
        infer_mode: bool = False,
        return_all_hs: bool = False,
        prefix_embeds: Optional[torch.Tensor] = None,
        **_: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, Optional[State]]:
        """Encode a batch.

        Args:
            xs_pad: Input frames (B, T, D).
            ilens: Valid input frames (B,).
            prev_states: With ``infer_mode``, what the last call returned; None: the
                utterance begins.
            is_final: With ``infer_mode``, whether the utterance ends with these frames.
            infer_mode: The frames are the next part of an utterance, as in ESPnet's
                ``asr_inference_streaming``.
            return_all_hs: For task s2st; only False is accepted.
            prefix_embeds: For task s2t_ctc: embedded language and task (B, P, D'). As
                the task's model expects, they are put in front of the output frames,
                and their mean is added to each frame.
            _: Further arguments of task s2t_ctc for layers that this encoder does not
                have: the CTC (intermediate losses) and the prompt text
                (cross-attention).

        Returns:
            Output frames (B, T', D'), their lengths (B,), and the state for the next
            call, or None.

        Raises:
            ConfigError: If the outputs of all layers are requested, or if it cannot run
                on parts of an utterance.
        """
        if return_all_hs:
            raise ConfigError(
                "return_all_hs is true; encoder 'stnas' accepts only false, since its "
                "layers may differ in frame rate"
            )
        if infer_mode:
            return self._next(xs_pad, ilens, prev_states, is_final)
        ys_pad, olens = self.network(xs_pad, ilens)
        if prefix_embeds is not None:
            ys_pad = ys_pad + prefix_embeds.mean(dim=1, keepdim=True)
            ys_pad = torch.cat([prefix_embeds, ys_pad], dim=1)
            olens = olens + prefix_embeds.size(1)
        return ys_pad, olens, None

    def stream(self) -> Stream:
        """Return the encoder as a function of parts of utterances.

        Raises:
            ConfigError: If it is a supernet, or an operation cannot run chunk by chunk.
        """
        if not isinstance(self.network, Network) or not self.space.is_architecture:
            raise ConfigError(
                "a search space cannot run chunk by chunk; accepted is an architecture"
            )
        return Stream(self.network)

    def _next(
        self,
        xs: torch.Tensor,
        lengths: torch.Tensor,
        state: Optional[State],
        final: bool,
    ) -> tuple[torch.Tensor, torch.Tensor, Optional[State]]:
        """Encode the next frames (B, T, D) of utterances, without padding."""
        if int(lengths.min()) < xs.size(1):
            raise ConfigError(
                "a part of one utterance is shorter than that of another; accepted by "
                "the encoder 'stnas' in infer_mode are parts of equal length"
            )
        stream = self.stream()
        if state is None:
            state = stream.start(xs.size(0), like=xs)
        ys, state = stream(xs, state, final)
        olens = torch.full_like(lengths, ys.size(1))
        return ys, olens, None if final else state


def _build(space: SearchSpace, input_size: int) -> Network:
    if space.is_architecture:
        return build_network(space, input_size)
    # A fixed encoder runs without any code of the search.
    from espnet_stnas.supernet.supernet import build_supernet

    return build_supernet(space, input_size)
