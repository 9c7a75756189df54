"""Time and memory of the CTC-CRF loss against torch's CTC loss.

Forward and backward, from logits to their gradient, for vocabularies of several sizes
and label LMs of several orders. The label LMs are estimated from synthetic text: labels
of a random source in which the last two labels decide which few are likely next. Where
n-grams are pruned, counts are chosen for some tens of thousands of n-grams.

    python benchmarks/ctc_crf.py
    python benchmarks/ctc_crf.py --device cuda --batch_size 32
    python benchmarks/ctc_crf.py --products         # ways to multiply a sparse matrix
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import torch
from measure import (
    environment,
    header,
    interleaved,
    markdown_table,
    open_device,
    peak_bytes,
)

from espnet_stnas.ctc_crf.estimate import EstimationOptions, estimate
from espnet_stnas.ctc_crf.graph import DenominatorGraph, SparseArray, build_graph
from espnet_stnas.ctc_crf.lm import LabelLM
from espnet_stnas.ctc_crf.loss import CTCCRFLoss
from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.host.encoder import STNASEncoder

SENTENCES = 4000
LIKELY = 12
# Vocabulary, order, smoothing and smallest counts.
CASES: dict[str, tuple[int, int, str, tuple[int, ...]]] = {
    "30, 2-gram": (30, 2, "kn", (1,)),
    "30, 3-gram": (30, 3, "kn", (1,)),
    "30, 4-gram": (30, 4, "kn", (1, 1, 1, 3)),
    "72, 2-gram": (72, 2, "kn", (1,)),
    "72, 3-gram": (72, 3, "kn", (1, 1, 2)),
    "72, 4-gram": (72, 4, "kn", (1, 1, 2, 3)),
    "72, 4-gram, not smoothed": (72, 4, "none", (1, 1, 1, 8)),
    "500, 2-gram": (500, 2, "kn", (1, 2)),
    "500, 3-gram": (500, 3, "kn", (1, 2, 2)),
    "500, 4-gram": (500, 4, "kn", (1, 2, 2, 2)),
}
ENCODER = [
    *("tdnn-C1D1", "tdnn-C1D1", "tdnn-C1S3D1", "tdnn-C1D2", "tdnn-C1D2", "tdnn-C1D2"),
    "tdnn-C1D2",
]


def source(vocabulary: int, seed: int = 0) -> Iterator[list[str]]:
    """Sentences of 20 to 80 labels, the numbers from 1 to ``vocabulary`` - 2."""
    draw = random.Random(seed)
    labels = [str(number) for number in range(1, vocabulary - 1)]
    likely: dict[tuple[str, str], list[str]] = {}
    for _ in range(SENTENCES):
        sentence = ["", ""]
        for _ in range(draw.randint(20, 80)):
            history = sentence[-2], sentence[-1]
            if history not in likely:
                likely[history] = draw.choices(labels, k=LIKELY)
            # Most often one of the likely ones, and of these the first ones.
            place = min(int(draw.expovariate(0.5)), LIKELY - 1)
            usual = draw.random() < 0.9
            sentence.append(likely[history][place] if usual else draw.choice(labels))
        yield sentence[2:]


def label_lm(case: str, texts: Sequence[Sequence[str]]) -> tuple[LabelLM, list[str]]:
    """The label LM of a case, and its token list."""
    vocabulary, order, smoothing, counts = CASES[case]
    labels = [str(number) for number in range(1, vocabulary - 1)]
    tokens = ["<blank>", *labels, "<sos/eos>"]
    options = EstimationOptions(order, smoothing, counts)
    return LabelLM(estimate(texts, labels, options), tokens), tokens


class Batch:
    """Random logits, and texts that are long for their frames."""

    def __init__(
        self,
        args: argparse.Namespace,
        lm: LabelLM,
        texts: Sequence[Sequence[str]],
        tokens: Sequence[str],
        device: torch.device,
    ) -> None:
        vocabulary, size = len(tokens), args.batch_size
        self.logits = torch.randn(size, args.frames, vocabulary, device=device)
        self.logits.requires_grad_()
        self.frames = torch.full((size,), args.frames)
        used = [list(text[: args.frames // 4]) for text in texts[:size]]
        index = {token: number for number, token in enumerate(tokens)}
        self.targets = torch.tensor([index[w] for text in used for w in text])
        self.labels = torch.tensor([len(text) for text in used])
        # A part of a text may have no end that the LM knows; its value is no matter.
        self.lm_log_probs = torch.tensor([max(lm.score(text), -1e4) for text in used])

    def log_probs(self) -> torch.Tensor:
        """Log-probabilities (T, B, V)."""
        return self.logits.log_softmax(2).transpose(0, 1)


def ctc_task(batch: Batch) -> Callable[[], None]:
    """Torch's CTC loss, forward and backward."""

    def task() -> None:
        loss = torch.nn.functional.ctc_loss(
            batch.log_probs(), batch.targets, batch.frames, batch.labels
        )
        torch.autograd.grad(loss, batch.logits)

    return task


def crf_task(batch: Batch, loss: CTCCRFLoss) -> Callable[[], None]:
    """The CTC-CRF loss, forward and backward."""

    def task() -> None:
        terms = loss(
            batch.log_probs(),
            batch.frames,
            batch.targets,
            batch.labels,
            batch.lm_log_probs,
        )
        torch.autograd.grad(terms.loss.sum(), batch.logits)

    return task


def encoder_task(args: argparse.Namespace, device: torch.device) -> Callable[[], None]:
    """A TDNN of the paper's size, forward and backward, for as many output frames."""
    encoder = STNASEncoder(120, layers=ENCODER, width=640).to(device)
    speech = torch.randn(args.batch_size, 3 * args.frames, 120, device=device)
    lengths = torch.full((args.batch_size,), 3 * args.frames, device=device)

    def task() -> None:
        encoder(speech, lengths)[0].sum().backward()

    return task


def measure(
    case: str,
    args: argparse.Namespace,
    device: torch.device,
    texts: Sequence[Sequence[str]],
) -> dict[str, Any]:
    """Time and memory of a case."""
    lm, tokens = label_lm(case, texts)
    graph = build_graph(lm, tokens)
    batch = Batch(args, lm, texts, tokens, device)
    loss = CTCCRFLoss(graph)
    tasks = {"ctc": ctc_task(batch), "crf": crf_task(batch, loss)}
    if args.every_transition:
        every = CTCCRFLoss(build_graph(lm, tokens, share=False))
        tasks["every"] = crf_task(batch, every)
    times = interleaved(tasks, args.repeat, device)
    result: dict[str, Any] = {
        "case": case,
        "ngrams": len(lm.ngrams),
        "states": graph.states,
        "products": graph.size,
        "seconds": {name: statistics.median(t) for name, t in times.items()},
        "bytes": {name: peak_bytes(task, device) for name, task in tasks.items()},
    }
    return result


def row(result: dict[str, Any]) -> list[str]:
    seconds, memory = result["seconds"], result["bytes"]
    cells = [result["case"]]
    cells += [f"{result[name]:,}" for name in ("ngrams", "states", "products")]
    cells += [f"{1e3 * seconds[name]:.1f}" for name in ("ctc", "crf")]
    cells += [f"{seconds['crf'] / seconds['ctc']:.1f}"]
    cells += [f"{memory[name] / 2**20:.0f}" for name in ("ctc", "crf")]
    if "every" in seconds:
        cells += [f"{1e3 * seconds['every']:.1f}"]
    return cells


def product_table(graph: DenominatorGraph, args: argparse.Namespace) -> str:
    """Ways to multiply the transitions of a graph with the states of a batch."""
    device = torch.device(args.device)
    ways = _products(graph.arcs, args.batch_size, device)
    times = interleaved(ways, args.repeat, device)
    rows = [[n, f"{1e3 * statistics.median(t):.2f}"] for n, t in times.items()]
    return markdown_table(["20 products by", "ms"], rows)


def _products(
    array: SparseArray, batch: int, device: torch.device
) -> dict[str, Callable[[], object]]:
    rows = torch.tensor(array.rows, device=device)
    columns = torch.tensor(array.columns, device=device)
    values = torch.tensor(array.values, device=device)
    offsets = torch.zeros(array.shape[0] + 1, dtype=torch.long, device=device)
    offsets[1:] = torch.bincount(rows, minlength=array.shape[0]).cumsum(0)
    dense = torch.rand(array.shape[1], batch, dtype=torch.double, device=device)
    out = torch.empty(array.shape[0], batch, dtype=torch.double, device=device)
    compressed = torch.sparse_csr_tensor(
        offsets.int(), columns.int(), values, array.shape
    )

    def repeated(way: Callable[[], object]) -> Callable[[], None]:
        def task() -> None:
            for _ in range(20):
                way()

        return task

    functional = torch.nn.functional
    ways: dict[str, Callable[[], object]] = {
        "compressed rows": lambda: out.addmm_(compressed, dense, beta=0.0),
        "embedding_bag": lambda: functional.embedding_bag(
            columns,
            dense,
            offsets,
            mode="sum",
            per_sample_weights=values,
            include_last_offset=True,
        ),
        "index_add": lambda: out.zero_().index_add_(
            0, rows, dense[columns] * values[:, None]
        ),
        "segment_reduce": lambda: torch.segment_reduce(
            dense[columns] * values[:, None], "sum", offsets=offsets, axis=0
        ),
    }
    return {name: repeated(way) for name, way in ways.items()}


def get_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--frames", type=int, default=200, help="of each utterance")
    parser.add_argument("--repeat", type=int, default=3, help="timed rounds")
    parser.add_argument("--case", help="one row alone, such as '72, 4-gram'")
    parser.add_argument(
        "--every_transition",
        action="store_true",
        help="also without shared transitions (a column more)",
    )
    parser.add_argument(
        "--products", action="store_true", help="time ways to multiply instead"
    )
    parser.add_argument("--json", help="also write the numbers to this file")
    return parser


@plain_errors()
def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Measure and print.

    Raises:
        ConfigError: If an option cannot be honoured.
    """
    args = get_parser().parse_args(arguments)
    if min(args.batch_size, args.repeat) < 1 or args.frames < 4:
        raise ConfigError(
            f"--batch_size {args.batch_size} --repeat {args.repeat} --frames "
            f"{args.frames}; accepted are 1, 1 and 4 or more"
        )
    if args.case is not None and args.case not in CASES:
        raise ConfigError(f"--case is '{args.case}'; accepted are: {'; '.join(CASES)}")
    device = open_device(args.device, args.threads)
    torch.manual_seed(0)
    texts = {v: list(source(v)) for v in sorted({v for v, *_ in CASES.values()})}
    if args.products:
        lm, tokens = label_lm(args.case or "72, 4-gram", texts[72])
        print(header(device) + "\n")
        print(product_table(build_graph(lm, tokens), args))
        return
    results = []
    for case in CASES if args.case is None else (args.case,):
        print(case, file=sys.stderr, flush=True)
        results.append(measure(case, args, device, texts[CASES[case][0]]))
    step = interleaved({"encoder": encoder_task(args, device)}, args.repeat, device)
    encoder = statistics.median(step["encoder"])
    columns = ["V, label LM", "n-grams", "states", "products per frame"]
    columns += ["CTC, ms", "CTC-CRF, ms", "ratio", "CTC, MiB", "CTC-CRF, MiB"]
    columns += ["every transition, ms"] if args.every_transition else []
    print(header(device))
    print(
        f"- {args.batch_size} utterances of {args.frames} frames; label LMs of "
        f"synthetic text, {SENTENCES} lines"
    )
    print(
        f"- forward and backward of a TDNN of {len(ENCODER)} layers, width 640, for as "
        f"many frames: {1e3 * encoder:.1f} ms\n"
    )
    print(markdown_table(columns, map(row, results)))
    if args.json:
        report = {
            "environment": environment(device),
            "encoder": encoder,
            "results": results,
        }
        Path(args.json).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
