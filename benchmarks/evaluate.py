"""How many architectures a second can be evaluated with shared weights.

Layers that several architectures have in common run once for all of them, and what lies
in front of the encoder once for a batch (`stnas evaluate`). This is compared with one
forward for each architecture, on the same batch of noise, in turns: for the encoder
alone, and for the whole ESPnet model with its loss and its errors. Both ways must give
equal losses.

    python benchmarks/evaluate.py                    # all 4096 of the digits recipe
    python benchmarks/evaluate.py --paths 64         # a sample
    python benchmarks/evaluate.py --device cuda
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from measure import header, markdown_table, open_device

from espnet_stnas.errors import plain_errors
from espnet_stnas.estimators.base import Gate
from espnet_stnas.selection.paths import all_paths, some_paths
from espnet_stnas.selection.scoring import PathScorer
from espnet_stnas.supernet.paths import on_paths

CONFIG = Path(__file__).parents[1] / "egs2" / "digits" / "asr_stnas1" / "conf"
TOKENS = ["<blank>", "<unk>", *"efghinorstuvwxz ", "<sos/eos>"]
RATE = 8000


def build_model(config: Path) -> torch.nn.Module:
    """The model of a search with random weights."""
    from espnet_stnas.search.task import SearchASRTask

    options = ["--config", str(config), "--token_type", "char", "--output_dir", "none"]
    args = SearchASRTask.get_parser().parse_args(options)
    args.token_list = TOKENS
    return SearchASRTask.build_model(args).eval()


def noise(utterances: int, seconds: float) -> dict[str, torch.Tensor]:
    """A batch of noise, with transcripts of ten tokens a second."""
    lengths = torch.linspace(0.7, 1.0, utterances) * seconds
    texts = (10 * lengths).long()
    return {
        "speech": torch.randn(utterances, int(RATE * seconds)),
        "speech_lengths": (RATE * lengths).long(),
        "text": torch.randint(2, len(TOKENS) - 1, (utterances, int(texts.max()))),
        "text_lengths": texts,
    }


def seconds_of(task: Callable[[], object], device: torch.device) -> float:
    """Wall-clock seconds of a call."""
    start = time.perf_counter()
    task()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


@torch.no_grad()
def measure(
    scorer: PathScorer,
    batch: dict[str, torch.Tensor],
    paths: Sequence[tuple[int, ...]],
    alone: Sequence[tuple[int, ...]],
    device: torch.device,
) -> dict[str, tuple[float, float]]:
    """Architectures a second, one by one and together.

    Args:
        scorer: The model.
        batch: The batch.
        paths: Architectures to evaluate together.
        alone: Some of them, to evaluate one by one.
        device: Device of the model.
    """
    prepared = scorer.prepare(batch)
    supernet = scorer.supernet
    losses: dict[tuple[int, ...], float] = {}

    def one_by_one(run: Callable[[], object]) -> None:
        for path in alone:
            with supernet.routed([Gate((k,)) for k in path]):
                found = run()
            if isinstance(found, float):
                losses[path] = found

    def whole() -> float:
        # With its errors, as an evaluation has them.
        tally = scorer.tally(batch)
        return tally.loss

    def check() -> None:
        together = scorer.score(paths, prepared)
        for path, tally in zip(paths, together, strict=True):
            if path in losses:
                assert abs(tally.loss - losses[path]) <= 1e-4 * abs(losses[path])

    rates = {}
    for name, separate, joint in (
        (
            "encoder alone",
            lambda: supernet(*prepared.features),
            lambda: on_paths(supernet, paths, *prepared.features, lambda *_: None),
        ),
        ("whole model", whole, check),
    ):
        separate()
        first = seconds_of(lambda run=separate: one_by_one(run), device)
        second = seconds_of(joint, device)
        rates[name] = len(alone) / first, len(paths) / second
    return rates


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", type=Path, default=CONFIG / "search.yaml")
    parser.add_argument("--paths", type=int, help="a sample (default: all)")
    parser.add_argument(
        "--alone", type=int, default=64, help="how many of them also run one by one"
    )
    parser.add_argument("--utterances", type=int, default=10, help="of the batch")
    parser.add_argument("--seconds", type=float, default=2.5, help="of the longest")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    with plain_errors():
        device = open_device(args.device, args.threads)
        torch.manual_seed(0)
        scorer = PathScorer(build_model(args.config).to(device))
        space = scorer.supernet.space
        paths = (
            all_paths(space) if args.paths is None else some_paths(space, args.paths, 0)
        )
        alone = random.Random(0).sample(paths, min(args.alone, len(paths)))
        batch = noise(args.utterances, args.seconds)
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        rates = measure(scorer, batch, paths, alone, device)
    print(header(device))
    print(
        f"- {len(paths)} of {space.num_architectures} architectures; a batch of "
        f"{args.utterances} utterances of up to {args.seconds:g} s\n"
    )
    rows = [
        [name, f"{first:.1f}", f"{second:.1f}", f"{second / first:.1f}"]
        for name, (first, second) in rates.items()
    ]
    columns = ["architectures per second", "one by one", "common layers once", "ratio"]
    print(markdown_table(columns, rows))


if __name__ == "__main__":
    main()
