"""Kill a search and a retraining at random moments, and see whether they get over it.

    python benchmarks/kills.py --kills 20

Every run is killed by SIGKILL once, at a random moment of one of the phases below, and
then started again with the same command. What it leaves is compared, bit by bit, with
that of a run that nobody killed: logits, weights, optimizers, schedulers, averaged
models, links to the best and the latest model, architectures, statistics.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import re
import signal
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import torch
import yaml

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import markdown_table
from benchmarks.processes import finish, run_main, start
from benchmarks.tiny_search import command, make_corpus, search_config

# Exit codes of success: 3 is that of derive if a supernet is not trained, as here.
DONE = (0, 3)
PROGRAMS = ("search", "derive", "retraining")
# What is entered when a phase begins, and for about how long it lasts, in seconds.
_OF_TRAINING = {
    "epoch": ("espnet2.train.trainer:Trainer.train_one_epoch", 0.4),
    "weight update": ("torch.optim:Adam.step", 0.01),
    "validation": ("espnet2.train.trainer:Trainer.validate_one_epoch", 0.05),
    "checkpoint": ("espnet_stnas.host.checkpoints:_WholeSaves.__call__", 0.01),
    "links": ("pathlib:Path.symlink_to", 0.005),
}
_STEP = "espnet_stnas.search.epoch:Epoch.architecture_step"
# The program that is killed, and in what.
PHASES: dict[str, tuple[str, str, float]] = {
    "architecture step": ("search", _STEP, 0.02),
    **{name: ("search", *phase) for name, phase in _OF_TRAINING.items()},
    "derive": ("derive", "espnet_stnas.files:_write_whole", 0.002),
    **{
        f"retraining, {name}": ("retraining", *phase)
        for name, phase in _OF_TRAINING.items()
    },
}
_NO_RESULT = re.compile(r"config\.yaml|runs\.jsonl|.*\.log|\..*|.*_time")


def run_until(module: str, options: list[str], entry: str, nth: int, delay: float):
    """Run a program that kills itself some time after the n-th entry of a function."""
    module_name, path = entry.split(":")
    owner: Any = importlib.import_module(module_name)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original = owner.__dict__[name] if outer else getattr(owner, name)
    function = getattr(original, "__func__", original)
    entries = 0

    def entered(*args: Any, **kwargs: Any) -> Any:
        nonlocal entries
        entries += 1
        if entries == nth:
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return function(*args, **kwargs)

    setattr(
        owner, name, type(original)(entered) if function is not original else entered
    )
    run_main(module, options)


class Trial:
    """The programs, in directories of their own.

    Args:
        root: Where to put everything.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.corpus = make_corpus(root / "corpus")
        self.reference = root / "reference"
        for program in PROGRAMS:
            self.run(program, self.reference)
        self.expected = {p: results(self.reference / p) for p in PROGRAMS}

    def run(self, program: str, directory: Path) -> None:
        """Run a program to its end."""
        log = directory / f"{program}.log"
        directory.mkdir(parents=True, exist_ok=True)
        module, options = self._command(program, directory)
        process = start("benchmarks.processes:run_main", log, module, options)
        finish(process, log, codes=DONE)

    def kill(
        self, program: str, directory: Path, entry: str, nth: int, delay: float
    ) -> bool:
        """Run a program and kill it; False if it has ended before that."""
        log = directory / f"{program}.killed.log"
        directory.mkdir(parents=True, exist_ok=True)
        module, options = self._command(program, directory)
        process = start(
            "benchmarks.kills:run_until", log, module, options, entry, nth, delay
        )
        process.join(300)
        if process.exitcode not in (*DONE, -signal.SIGKILL):
            raise RuntimeError(f"{program} failed:\n{log.read_text()[-3000:]}")
        return process.exitcode not in DONE

    def _command(self, program: str, directory: Path) -> tuple[str, list[str]]:
        target = directory / program
        if program == "search":
            # Links to several best models, and models that are removed.
            config = search_config(
                max_epoch=4,
                best_model_criterion=[["valid", "loss", "min"]],
                keep_nbest_models=[1, 2],
            )
            return "espnet_stnas.search.program", command(self.corpus, target, config)
        if program == "derive":
            template = directory / "template.yaml"
            config = search_config(max_epoch=4)
            for key in ("optim2", "optim2_conf", "warmup_epochs", "arch_fraction"):
                del config[key]
            template.write_text(yaml.safe_dump(config))
            return "espnet_stnas.cli.main", [
                *("derive", str(self.reference / "search")),
                *("--output", str(target / "architecture.yaml")),
                *("--train_config", str(template)),
                *("--train_output", str(target / "train.yaml")),
            ]
        train = self.reference / "derive" / "train.yaml"
        config = yaml.safe_load(train.read_text()) if train.exists() else {}
        options = command(self.corpus, target, config)
        return "espnet_stnas.run", ["-m", "espnet2.bin.asr_train", *options]


def results(directory: Path) -> dict[str, str]:
    """A digest of every file that a program left, apart from times and logs."""
    digests = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_dir() or _NO_RESULT.fullmatch(path.name):
            continue
        if path.is_symlink():
            digests[name] = f"link to {os.readlink(path)}"
        elif path.suffix == ".pth":
            digests[name] = _digest(torch.load(path, weights_only=True))
        elif path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            moments = [{**json.loads(line), "seconds": 0} for line in lines]
            digests[name] = json.dumps(moments)
        else:
            # Without the first line, which may name directories.
            text = path.read_bytes().split(b"\n", 1)[-1]
            digests[name] = hashlib.sha256(text).hexdigest()
    return digests


def _digest(value: Any) -> str:
    """Of tensors in containers, to the last bit; without times."""
    state = hashlib.sha256()

    def add(item: Any) -> None:
        if isinstance(item, Mapping):
            for key, part in item.items():
                if not (isinstance(key, str) and key.endswith("time")):
                    state.update(repr(key).encode())
                    add(part)
        elif isinstance(item, (list, tuple)):
            for part in item:
                add(part)
        elif torch.is_tensor(item):
            state.update(item.contiguous().numpy().tobytes())
        else:
            state.update(repr(item).encode())

    add(value)
    return state.hexdigest()


def kill_one(trial: Trial, phase: str, number: int, draw: random.Random) -> str:
    """Kill a program in a phase, start it again, and compare.

    Returns:
        The epoch from which it went on, or '-'.

    Raises:
        RuntimeError: If what it left is not what an uninterrupted run leaves.
    """
    program, entry, seconds = PHASES[phase]
    directory = trial.root / f"kill{number:03d}"
    while True:
        nth = draw.randint(1, 2 if program == "derive" else 6)
        if "epoch" in phase or "validation" in phase:
            nth = draw.randint(1, 4)
        if trial.kill(program, directory, entry, nth, draw.uniform(0, seconds)):
            break
        _remove(directory)
    checkpoint = directory / program / "checkpoint.pth"
    epoch = "-"
    if checkpoint.exists():
        states = torch.load(checkpoint, weights_only=True)
        epoch = str(states["reporter"]["epoch"])
    if program != "derive":
        trial.run(program, directory)
    else:
        _check_derived(trial, directory)
        trial.run(program, directory)
    left, expected = results(directory / program), trial.expected[program]
    differing = [
        n for n in left.keys() | expected.keys() if left.get(n) != expected.get(n)
    ]
    if differing:
        raise RuntimeError(
            f"killed in '{phase}' ({directory}), these differ in the end: "
            f"{', '.join(sorted(differing))}"
        )
    return epoch


def _check_derived(trial: Trial, directory: Path) -> None:
    """What is there right after the kill must be whole."""
    for name, digest in results(directory / "derive").items():
        if trial.expected["derive"][name] != digest:
            raise RuntimeError(f"{directory / 'derive' / name} is not whole")


def _remove(directory: Path) -> None:
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def main(cmd: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="Of each program")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(cmd)
    draw = random.Random(args.seed)
    epochs = defaultdict(list)
    with tempfile.TemporaryDirectory() as root:
        trial = Trial(Path(root))
        number = 0
        for program in PROGRAMS:
            phases = [p for p in PHASES if PHASES[p][0] == program]
            for i in range(args.kills):
                number += 1
                phase = phases[i % len(phases)]
                epochs[phase].append(kill_one(trial, phase, number, draw))
                print(f"{number}: {phase}", file=sys.stderr, flush=True)
    print("Every run ended with the results of the one that was not killed.\n")
    print(
        markdown_table(
            ["killed in", "kills", "went on after epoch"],
            [(p, len(e), ", ".join(e)) for p, e in epochs.items()],
        )
    )


if __name__ == "__main__":
    main()
