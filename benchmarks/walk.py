"""How far a reader walks through the package to follow one architecture step.

    python benchmarks/walk.py [--calls]

A search of a three-layer toy runs through ``SearchTrainer``. Of the second step of its
epoch, up to the moment in which ESPnet's loop gets the weight batch, this counts the
files of the package whose functions are called, and how often a call is in another file
than the one before. ``--calls`` prints the calls.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any, Optional
from unittest.mock import patch

import torch
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import SubReporter
from espnet2.train.trainer import Trainer

import espnet_stnas
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.search.iterators import SearchIterFactory
from espnet_stnas.search.task import SearchASRTask
from espnet_stnas.search.trainer import SearchTrainer
from espnet_stnas.supernet.supernet import build_supernet

PACKAGE = str(Path(espnet_stnas.__file__).parent)
CHOICE = ["tdnn-C1D1", "tdnn-C1D2"]
SPACE = SearchSpace.from_conf({"width": 4, "layers": ["tdnn-C1D1", CHOICE, CHOICE]})


class Toy(AbsESPnetModel):
    """A supernet and a loss, called as ESPnet's models are."""

    def __init__(self) -> None:
        super().__init__()
        self.supernet = build_supernet(SPACE, 3)

    def forward(
        self, x: torch.Tensor, lengths: torch.Tensor, utt_id: Sequence[str]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """A loss of frames (B, T, D) of lengths (B,)."""
        loss = self.supernet(x, lengths)[0].square().mean()
        return loss, {"loss": loss.detach()}, torch.tensor(len(x))

    def collect_feats(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Nobody asks for statistics."""
        return {}


class Batches(AbsIterFactory):
    """Three batches in every epoch."""

    def build_iter(self, epoch: int, shuffle: Optional[bool] = None) -> list[Any]:
        """The batches."""
        data = {"x": torch.randn(2, 9, 3), "lengths": torch.tensor([9, 7])}
        return [(["a", "b"], dict(data)) for _ in range(3)]


class Walked(Exception):  # noqa: N818  (no error: the walk is over)
    """Carries the calls out of ESPnet's trainer."""


def walk() -> list[tuple[str, str]]:
    """File and name of every call of the package in one step."""
    calls: list[tuple[str, str]] = []

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            calls.append((code.co_filename[len(PACKAGE) + 1 :], code.co_name))

    def second_step(
        cls: type,
        *,
        iterator: Iterable[Any],
        reporter: SubReporter,
        optimizers: Sequence[torch.optim.Optimizer],
        **_: Any,
    ) -> bool:
        """Instead of ESPnet's epoch, with a weight step that changes nothing."""
        steps = iter(iterator)
        next(steps)
        optimizers[0].step()
        reporter.next()
        sys.setprofile(profile)
        try:
            next(steps)
        finally:
            sys.setprofile(None)
        raise Walked

    torch.manual_seed(0)
    model = Toy()
    known = {id(p) for p in model.supernet.logits}
    weights = [p for p in model.parameters() if id(p) not in known]
    batches = Batches()
    with tempfile.TemporaryDirectory() as directory:
        args = SearchASRTask.get_parser().parse_args(
            ["--output_dir", directory, "--warmup_epochs", "0", "--max_epoch", "1"]
        )
        epoch = patch.object(Trainer, "train_one_epoch", classmethod(second_step))
        with epoch, suppress(Walked):
            SearchTrainer.run(
                model=model,
                optimizers=[
                    torch.optim.Adam(p) for p in (weights, model.supernet.logits)
                ],
                schedulers=[None, None],
                train_iter_factory=SearchIterFactory(batches, batches),
                valid_iter_factory=batches,
                plot_attention_iter_factory=None,
                trainer_options=SearchTrainer.build_options(args),
                distributed_option=DistributedOption(),
            )
    return calls


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", action="store_true", help="Print the calls, too")
    args = parser.parse_args(cmd)
    calls = walk()
    if args.calls:
        for file, group in groupby(calls, key=lambda call: call[0]):
            print(f"{file}: {', '.join(name for _, name in group)}")
    files = [file for file, _ in groupby(calls, key=lambda call: call[0])]
    print(f"{len(set(files))} files, {len(files) - 1} changes of file")


if __name__ == "__main__":
    main()
