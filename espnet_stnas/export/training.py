"""What is exported: a training, what goes in, and the speech to check it with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch

from espnet_stnas.ctc_crf.decoding.data import find_utterances, speech_source
from espnet_stnas.ctc_crf.decoding.experiment import read_speech
from espnet_stnas.errors import ConfigError
from espnet_stnas.export.check import Reference
from espnet_stnas.export.encoder import Exportable, ExportedEncoder
from espnet_stnas.export.metadata import metadata_of
from espnet_stnas.export.recogniser import ExportedRecogniser
from espnet_stnas.export.streaming import StreamingStep
from espnet_stnas.files import PathLike, read_yaml_mapping
from espnet_stnas.host.trained import encoder_input_size, trained_model, weights_file
from espnet_stnas.messages import quote
from espnet_stnas.selection.data import data_rows
from espnet_stnas.selection.greedy import TestSet, count_errors

_NOISE = 3, 300  # utterances, frames
_VALID = "valid_data_path_and_name_and_type"


@dataclass(frozen=True)
class Training:
    """A training, and the part of it that is exported.

    Args:
        config: The config.yaml.
        weights: File of the weights.
        model: The model of ESPnet, with its weights.
        options: The options of the training.
        given: What goes in: ``speech``, ``features``, or normalised ``frames`` into the
            encoder alone.
        chunk: Frames of a chunk of a streaming step; None: whole utterances.
    """

    config: Path
    weights: Path
    model: Any
    options: Any
    given: str
    chunk: Optional[int] = None

    @classmethod
    def open(
        cls,
        experiment: PathLike,
        model_file: Optional[str] = None,
        given: Optional[str] = None,
        chunk: Optional[int] = None,
    ) -> Training:
        """Load a training.

        Args:
            experiment: Directory of the training.
            model_file: File of the weights in it.
            given: What goes in; None: speech, or features without a front end.
            chunk: Frames of a chunk; None: whole utterances.

        Raises:
            ConfigError: If a file is missing or damaged, or the encoder is not ours.
        """
        weights = weights_file(experiment, model_file)
        model, options = trained_model(experiment, weights)
        if given is None:
            given = "features" if model.frontend is None else "speech"
        config = Path(experiment) / "config.yaml"
        return cls(config, weights, model, options, given, chunk)

    @property
    def tokens(self) -> list[str]:
        """The symbols of the outputs; none of an encoder alone."""
        return [] if self.given == "frames" else list(self.model.token_list)

    @property
    def input_size(self) -> int:
        """Dimensions of a frame of features."""
        return encoder_input_size(self.model, self.options)

    def module(self) -> Exportable:
        """Return the part that is exported.

        Raises:
            ConfigError: If something in it cannot be exported.
        """
        if self.chunk is not None:
            return StreamingStep(self.model, self.given, self.input_size, self.chunk)
        if self.given == "frames":
            return ExportedEncoder(self.model.encoder, self.input_size)
        return ExportedRecogniser(self.model, self.given, self.input_size)

    def metadata(self) -> dict[str, str]:
        """Return what the file says about itself, beside what the module adds."""
        return metadata_of(
            given=self.given,
            space=self.model.encoder.space,
            input_size=self.input_size,
            weights=self.weights,
            options=self.options,
            tokens=self.tokens,
            blank=self.model.blank_id,
        )

    def describe(self) -> str:
        """Return what goes in and what comes out, in words."""
        size = self.input_size
        rate = self.metadata().get("sample_rate")
        kind = {
            "speech": f"speech at {rate} Hz",
            "features": f"features of {size}",
            "frames": f"normalised features of {size}",
        }[self.given]
        outputs = f"log-probabilities of {len(self.tokens)} symbols"
        return f"{kind} to {outputs if self.tokens else 'frames of the encoder'}"

    def inputs(
        self, test: TestSet, most: Optional[int] = None
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Read speech, and make of it what goes in.

        Args:
            test: The speech.
            most: Read so many utterances; None for all.

        Yields:
            Utterance id, and samples (1, S) or frames (1, T, D).

        Raises:
            ConfigError: If speech cannot be read, or is of another kind.
        """
        reference = Reference(self.model, self.given)
        found = find_utterances(None, [test.source])
        found = replace(found, ids=found.ids[:most])
        for name, speech, lengths in read_speech(found, self.options, 0):
            given = reference.before(speech, lengths)
            expected = 2 if self.given == "speech" else 3
            if given.ndim != expected:
                raise ConfigError(
                    f"utterance {quote(name)} of {test.source[0]} has the shape "
                    f"{tuple(given.shape[1:])}; accepted is "
                    f"{'one channel' if expected == 2 else 'features'}"
                )
            yield name, given

    def noise(self, module: Exportable) -> list[np.ndarray]:
        """Return random input for the module."""
        count, frames = _NOISE
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return [module.example(1, frames - 7 * i).numpy() for i in range(count)]

    def error_rates(
        self, runner: Any, test: TestSet, most: Optional[int]
    ) -> tuple[float, float]:
        """Return word and token error rate of greedy decoding, in percent.

        Args:
            runner: Runs the file; see :data:`espnet_stnas.export.check.Runner`.
            test: Speech and its transcripts.
            most: Take so many utterances; None for all.

        Raises:
            ConfigError: If transcripts are missing.
        """
        errors = count_errors(
            ((name, runner(given)[0]) for name, given in self.inputs(test, most)),
            test,
            tokens=self.tokens,
            blank=self.model.blank_id,
            config=read_yaml_mapping(self.config, "training config"),
        )
        words = 100 * sum(errors.word_errors) / sum(errors.words)
        return words, 100 * sum(errors.token_errors) / sum(errors.tokens)


def check_set(config: Path, asked: Optional[str]) -> Optional[TestSet]:
    """Return the speech to check with, and its transcripts (empty if there are none).

    Args:
        config: The config.yaml of the training.
        asked: ``WAV_SCP`` or ``WAV_SCP,TEXT``; None for the validation set.

    Returns:
        None if the training names no validation set, or its files are gone.

    Raises:
        ConfigError: If a file that was asked for does not exist.
    """
    if asked is not None:
        speech, _, text = asked.partition(",")
        for file in (speech, text):
            if file and not Path(file).is_file():
                raise ConfigError(
                    f"check is {quote(asked)}, and {file} does not exist; accepted is "
                    "WAV_SCP or WAV_SCP,TEXT"
                )
        return TestSet("check", speech_source(speech), text)
    rows = data_rows(read_yaml_mapping(config, "training config").get(_VALID))
    by_name = {row[1]: row for row in rows}
    if "speech" not in by_name or not Path(by_name["speech"][0]).is_file():
        return None
    text = by_name["text"][0] if "text" in by_name else ""
    return TestSet("valid", by_name["speech"], text if Path(text).is_file() else "")
