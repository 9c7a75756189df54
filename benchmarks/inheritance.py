"""Weights inherited from the supernet against training from scratch.

    egs2/digits/asr_stnas1/run.sh --stop_stage 5 --exp EXP
    python benchmarks/inheritance.py EXP ... --epochs 1 2 3 5 10

EXP are experiments of the digits recipe whose derived encoder has been trained, which
is the training from scratch. The same training is made once more from the weights of
the supernet (`derive --init_output`), in EXP/inherited. Prints the mean over all EXP of
loss and character error rate on the development set after some epochs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import torch
import yaml
from measure import markdown_table


def train_inherited(exp: Path) -> Path:
    """Train the derived encoder of an experiment from the supernet's weights."""
    out = exp / "inherited"
    out.mkdir(exist_ok=True)
    derive = ["espnet_stnas", "derive", exp / "search"]
    derive += ["--output", out / "architecture.yaml", "--init_output", out / "init.pth"]
    _run(derive, out / "derive.log")
    from espnet2.tasks.asr import ASRTask

    config = yaml.safe_load((exp / "derived" / "config.yaml").read_text())
    # ESPnet writes more into it than it takes options.
    known = {action.dest for action in ASRTask.get_parser()._actions} - {"config"}
    config = {key: value for key, value in config.items() if key in known}
    config.update(output_dir=str(out), init_param=[str(out / "init.pth")], resume=True)
    (out / "train.yaml").write_text(yaml.safe_dump(config))
    train = ["espnet_stnas.run", "-m", "espnet2.bin.asr_train"]
    _run([*train, "--config", out / "train.yaml"], out / "train.log")
    return out


def _run(command: Sequence[object], log: Path) -> None:
    with open(log, "a", encoding="utf-8") as file:
        done = subprocess.run(
            [sys.executable, "-m", *map(str, command)],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    if done.returncode != 0:
        sys.exit(f"error: {command[0]} failed; see {log}")


def validation(training: Path) -> dict[int, dict[str, Any]]:
    """What ESPnet reported of the development set, by epoch."""
    checkpoint = torch.load(training / "checkpoint.pth", weights_only=True)
    stats = checkpoint["reporter"]["stats"]
    return {epoch: values["valid"] for epoch, values in stats.items()}


def rows(
    pairs: Sequence[tuple[dict[int, Any], dict[int, Any]]], epochs: Sequence[int]
) -> list[tuple[str, ...]]:
    """Means over experiments, of training from scratch and with inherited weights.

    Args:
        pairs: Reports of both trainings, of each experiment.
        epochs: After which epochs; those that a training does not have are left out.
    """
    table = []
    for epoch in epochs:
        if not all(epoch in reports for pair in pairs for reports in pair):
            continue
        cells = [str(epoch)]
        for key, factor in (("loss", 1), ("cer_ctc", 100)):
            for side in (0, 1):
                values = [factor * pair[side][epoch][key] for pair in pairs]
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                cells.append(f"{statistics.mean(values):.2f} ± {spread:.2f}")
        table.append(tuple(cells))
    return table


def main(cmd: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("experiments", nargs="+", type=Path)
    parser.add_argument("--epochs", nargs="+", type=int, default=[1, 2, 3, 5, 10, 20])
    args = parser.parse_args(cmd)
    pairs = []
    for exp in args.experiments:
        print(exp, file=sys.stderr, flush=True)
        inherited = train_inherited(exp)
        pairs.append((validation(exp / "derived"), validation(inherited)))
    columns = (
        *("epochs", "loss from scratch", "loss inherited"),
        *("CER % from scratch", "CER % inherited"),
    )
    print(f"{len(pairs)} experiments, mean ± standard deviation:\n")
    print(markdown_table(columns, rows(pairs, args.epochs)))


if __name__ == "__main__":
    main()
