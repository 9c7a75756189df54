"""The ESPnet encoder `stnas`: a supernet, or the fixed encoder of an architecture."""

from __future__ import annotations

from typing import Any, Optional

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder

from espnet_stnas.errors import ConfigError
from espnet_stnas.network.loading import digest_key, refuse_other_architecture
from espnet_stnas.network.network import Network, build_network
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
        prev_states: Optional[torch.Tensor] = None,
        return_all_hs: bool = False,
        prefix_embeds: Optional[torch.Tensor] = None,
        **_: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Encode a batch.

        Args:
            xs_pad: Input frames (B, T, D).
            ilens: Valid input frames (B,).
            prev_states: Not used.
            return_all_hs: For task s2st; only False is accepted.
            prefix_embeds: For task s2t_ctc: embedded language and task (B, P, D'). As
                the task's model expects, they are put in front of the output frames,
                and their mean is added to each frame.
            _: Further arguments of task s2t_ctc for layers that this encoder does not
                have: the CTC (intermediate losses) and the prompt text
                (cross-attention).

        Returns:
            Output frames (B, T', D'), their lengths (B,), and None (no states).

        Raises:
            ConfigError: If the outputs of all layers are requested.
        """
        if return_all_hs:
            raise ConfigError(
                "return_all_hs is true; encoder 'stnas' accepts only false, since its "
                "layers may differ in frame rate"
            )
        ys_pad, olens = self.network(xs_pad, ilens)
        if prefix_embeds is not None:
            ys_pad = ys_pad + prefix_embeds.mean(dim=1, keepdim=True)
            ys_pad = torch.cat([prefix_embeds, ys_pad], dim=1)
            olens = olens + prefix_embeds.size(1)
        return ys_pad, olens, None


def _build(space: SearchSpace, input_size: int) -> Network:
    if space.is_architecture:
        return build_network(space, input_size)
    # A fixed encoder runs without any code of the search.
    from espnet_stnas.supernet.supernet import build_supernet

    return build_supernet(space, input_size)
