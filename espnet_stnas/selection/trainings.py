"""Trainings of a verification: ESPnet's own, each in a process and a directory."""

from __future__ import annotations

import functools
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import dump_yaml, read_yaml_mapping, write_text
from espnet_stnas.messages import one_line
from espnet_stnas.selection.entrants import Entrant
from espnet_stnas.selection.progress import CHECKPOINT, Progress, read_progress

CONFIG = "train.yaml"
# How far the last command of a training that ended well was to go.
_ASKED = "verified.yaml"


class Training:
    """One encoder trained with one seed.

    Args:
        entrant: The encoder.
        seed: The seed.
        output: Directory of the verification.
    """

    def __init__(self, entrant: Entrant, seed: int, output: Path) -> None:
        self.entrant = entrant
        self.seed = seed
        self.config = output / entrant.name / CONFIG
        self.directory = output / entrant.name / f"seed{seed}"

    @property
    def name(self) -> str:
        """Its name for people."""
        return f"{self.entrant.name}, seed {self.seed}"

    @functools.cached_property
    def progress(self) -> Progress:
        """How far it is."""
        return read_progress(self.directory)

    def has_reached(self, epochs: int) -> bool:
        """Return whether it has these epochs, or ended before by itself."""
        file = self.directory / _ASKED
        if not file.exists():
            return False
        asked = read_yaml_mapping(file, "file").get("epochs")
        if not isinstance(asked, int):
            raise ConfigError(
                f"{file} is damaged; remove it to go on with the training"
            )
        # ESPnet's early stopping would train one more epoch each time.
        return asked >= epochs or self.progress.epochs < asked

    def note_end(self, epochs: int) -> None:
        """Note that a command has trained it up to an epoch."""
        self.__dict__.pop("progress", None)
        write_text(self.directory / _ASKED, dump_yaml({"epochs": epochs}))


@dataclass(frozen=True)
class Leg:
    """A part of a training.

    Args:
        training: The training.
        epochs: Epochs at its end.
    """

    training: Training
    epochs: int


def write_configs(trainings: Sequence[Training]) -> None:
    """Write the training YAMLs and architecture files of encoders.

    Args:
        trainings: Trainings of the encoders.

    Raises:
        ConfigError: If a training has begun with another YAML.
    """
    texts = {}
    for training in trainings:
        texts[training.config] = dump_yaml(training.entrant.config)
        begun = (training.directory / CHECKPOINT).exists()
        old = read_text_if_there(training.config)
        if begun and old is not None and old != texts[training.config]:
            raise ConfigError(
                f"{training.directory} was trained with another encoder or with other "
                "options than these; choose another --output, or give the options of "
                "the earlier verification"
            )
    for training in trainings:
        write_text(training.config, texts[training.config])
        if training.entrant.architecture is not None:
            file = training.config.with_name("architecture.yaml")
            training.entrant.architecture.write(file)


def read_text_if_there(path: Path) -> Optional[str]:
    """Return the contents of a file; None if there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else None


class Launcher:
    """Trains in processes of their own.

    Args:
        options: Options of all trainings, such as those that name data.
        jobs: How many train at a time.
        ngpu: GPUs of each training.
        command: A command such as ESPnet's run.pl or slurm.pl, with its options, which
            gets a log file and the command to run; None: run it here.
        say: Gets a line about each part that is complete.
    """

    def __init__(
        self,
        options: Sequence[str],
        *,
        jobs: int = 1,
        ngpu: int = 0,
        command: Optional[str] = None,
        say: Callable[[str], object] = print,
    ) -> None:
        self._options = list(options)
        self._jobs = jobs
        self._ngpu = ngpu
        self._command = None if command is None else shlex.split(command)
        self._say = say
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def run(self, legs: Sequence[Leg]) -> None:
        """Train what is missing.

        Args:
            legs: Parts of different trainings.

        Raises:
            ConfigError: If a training fails; the others are stopped, and go on at their
                last epochs the next time.
        """
        missing = [leg for leg in legs if not leg.training.has_reached(leg.epochs)]
        with ThreadPoolExecutor(self._jobs) as pool:
            futures = [pool.submit(self._train, leg) for leg in missing]
            try:
                for number, future in enumerate(as_completed(futures), start=1):
                    self._say(f"[{number}/{len(missing)}] {future.result()}")
            except BaseException:
                self._stop()
                for future in futures:
                    future.cancel()
                raise

    def command(self, leg: Leg) -> list[str]:
        """Return the command of a part of a training.

        Args:
            leg: The part.
        """
        training = leg.training
        return [
            *(sys.executable, "-m", "espnet_stnas.run", "-m", "espnet2.bin.asr_train"),
            *("--config", str(training.config)),
            *("--output_dir", str(training.directory)),
            *("--max_epoch", str(leg.epochs), "--resume", "true"),
            *("--seed", str(training.seed), "--ngpu", str(self._ngpu)),
            *self._options,
        ]

    def _train(self, leg: Leg) -> str:
        training = leg.training
        training.directory.mkdir(parents=True, exist_ok=True)
        log = training.directory / f"train.{leg.epochs}.log"
        words = self.command(leg)
        if self._command is not None:
            gpus = ["--gpu", str(self._ngpu)] if self._ngpu else []
            words = [*self._command, *gpus, str(log), *words]
        status = self._call(words, None if self._command else log)
        if status:
            raise ConfigError(
                f"the training of {training.name} ended with exit status {status} "
                f"({_last_line(log)}); {log} says more, and the same command goes on"
            )
        training.note_end(leg.epochs)
        found = training.progress
        return (
            f"{training.name}: to epoch {found.epochs}, valid {found.criterion} "
            f"{found.best(leg.epochs):.4g}"
        )

    def _call(self, words: Sequence[str], log: Optional[Path]) -> int:
        """Run a command, and return its exit status.

        Args:
            words: The command.
            log: Where its output goes; None: as that of this program.
        """
        if log is None:
            # Standard output is for the result alone.
            return self._wait(words, stdout=2)
        with open(log, "ab") as file:
            return self._wait(words, stdout=file, stderr=subprocess.STDOUT)

    def _wait(self, words: Sequence[str], **where: Any) -> int:
        with self._lock:
            if self._stopped:
                return 1
            try:
                process = subprocess.Popen(words, stdin=subprocess.DEVNULL, **where)
            except OSError as error:
                raise ConfigError(
                    f"{words[0]} cannot be run ({error.strerror}); --cmd takes a "
                    "command such as run.pl"
                ) from None
            self._running.add(process)
        try:
            return process.wait()
        finally:
            self._running.discard(process)

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in list(self._running):
                process.terminate()


def _last_line(log: Path) -> str:
    text = read_text_if_there(log) or ""
    lines = [line for line in text.splitlines() if line.strip()]
    return one_line(lines[-1])[:300] if lines else "it wrote nothing"
