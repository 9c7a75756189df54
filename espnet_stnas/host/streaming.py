"""Lets ESPnet's streaming inference take the encoder `stnas`.

``espnet2.bin.asr_inference_streaming`` calls encoders with parts of an utterance and a
state, which ours understands. But first it insists on ESPnet's two contextual block
encoders, by their class and by three keys of their configuration, which it does not
use. Both checks accept our encoder here. No method of ESPnet is copied.
"""

from __future__ import annotations

import argparse
from types import ModuleType
from typing import Any

from espnet_stnas.host.encoder import STNASEncoder

# That they exist is checked; their values are not read.
_KEYS = ("look_ahead", "hop_size", "block_size")


def accept_encoder(program: ModuleType) -> None:
    """Let the program accept our encoder; safe to repeat.

    Args:
        program: The module ``espnet2.bin.asr_inference_streaming``.

    Raises:
        ConfigError: When a model is read whose encoder cannot run chunk by chunk.
    """
    known = program.ContextualBlockTransformerEncoder
    if isinstance(known, tuple):
        return
    # isinstance takes a tuple of classes, too.
    program.ContextualBlockTransformerEncoder = (known, STNASEncoder)  # type: ignore[attr-defined]

    class Task(program.ASRTask):  # type: ignore[name-defined]
        """ESPnet's task, for this program only."""

        @classmethod
        def build_model_from_file(
            cls, *files: Any, **options: Any
        ) -> tuple[Any, argparse.Namespace]:
            model, args = super().build_model_from_file(*files, **options)
            if isinstance(model.encoder, STNASEncoder):
                model.encoder.stream()  # says in a sentence if it cannot
                args.encoder_conf = {**dict.fromkeys(_KEYS), **args.encoder_conf}
            return model, args

    program.ASRTask = Task  # type: ignore[attr-defined]
