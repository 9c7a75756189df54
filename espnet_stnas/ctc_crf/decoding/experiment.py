"""CTC outputs of a training of ESPnet's ASR."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from espnet2.tasks.asr import ASRTask

from espnet_stnas.ctc_crf.decoding.data import NAME, Utterances
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike
from espnet_stnas.host.compat import too_short_error
from espnet_stnas.host.trained import load_model
from espnet_stnas.messages import one_line, quote, reason


class Experiment:
    """A trained model with a CTC output.

    Args:
        train_config: config.yaml of the training.
        model_file: Weights of the training.
        device: Where to compute: ``cpu`` or ``cuda``.

    Raises:
        ConfigError: If a file is missing or damaged, or the model has no CTC output.
    """

    def __init__(
        self, train_config: PathLike, model_file: PathLike, device: str = "cpu"
    ) -> None:
        self._device = device
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("ngpu is 1, and torch finds no GPU; accepted is 0")
        self._model, self._train_args = load_model(train_config, model_file, device)
        if getattr(self._model, "ctc", None) is None:
            raise ConfigError(
                f"the model of {train_config} has no CTC output (ctc_weight is 0); "
                "accepted are trainings with ctc_weight above 0"
            )
        self.tokens: list[str] = list(self._model.token_list)
        self.blank: int = self._model.blank_id

    def outputs(
        self, utterances: Utterances, num_workers: int = 1
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Compute the outputs of utterances.

        Args:
            utterances: The utterances.
            num_workers: Number of processes that read speech; 0 reads in this one.

        Yields:
            Utterance id and log-probabilities (T, V), float32. Speech that is too
            short for the model gives no frames.

        Raises:
            ConfigError: If speech cannot be read, or outputs are not finite.
        """
        for name, speech, lengths in read_speech(
            utterances, self._train_args, num_workers
        ):
            yield name, self._output(name, speech, lengths)

    @torch.inference_mode()
    def _output(
        self, name: str, speech: torch.Tensor, lengths: torch.Tensor
    ) -> np.ndarray:
        try:
            encoded, _ = self._model.encode(
                speech.to(self._device), lengths.to(self._device)
            )
        except too_short_error() as error:
            logging.warning(f"utterance {name}: {error}; its text is empty")
            return np.zeros((0, len(self.tokens)), dtype=np.float32)
        except RuntimeError as error:  # speech of another kind, or no memory
            raise ConfigError(
                f"utterance {quote(name)}: the model cannot take speech of shape "
                f"{tuple(speech.shape)} ({one_line(error)[:300]})"
            ) from error
        if isinstance(encoded, tuple):  # with outputs of inner layers
            encoded = encoded[0]
        log_probs = self._model.ctc.log_softmax(encoded)[0].float().cpu().numpy()
        if np.isnan(log_probs).any():
            raise ConfigError(
                f"utterance {quote(name)}: the model's outputs are not numbers; look "
                "at the recording and at the weights"
            )
        return log_probs


def read_speech(
    utterances: Utterances, train_args: Any, num_workers: int = 1
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Read utterances one at a time, as a model of ESPnet gets them.

    Args:
        utterances: The utterances.
        train_args: Options of the training of the model.
        num_workers: Number of processes that read speech; 0 reads in this one.

    Yields:
        Utterance id, samples or features (1, T, ...), and their length (1,).

    Raises:
        ConfigError: If speech cannot be read.
    """
    loader = ASRTask.build_streaming_iterator(
        list(utterances.sources),
        dtype="float32",
        batch_size=1,
        key_file=utterances.key_file,
        num_workers=num_workers,
        preprocess_fn=ASRTask.build_preprocess_fn(train_args, False),
        collate_fn=ASRTask.build_collate_fn(train_args, False),
        inference=True,
    )
    batches = iter(loader)
    for name in utterances.ids:
        try:
            keys, batch = next(batches)
        except Exception as error:  # whatever readers of sound files raise
            raise ConfigError(
                f"utterance {quote(name)} of {utterances.sources[0][0]} cannot be "
                f"read ({reason(error)[:300]})"
            ) from error
        assert keys == [name], f"{keys} was read in the place of {name}"
        yield name, batch[NAME], batch[f"{NAME}_lengths"]
