"""What a search step costs, relative to a training step of the fixed encoder.

For every search space, this prints the cost of each kind of step as a ratio to one
training step (forward, and backward with weight gradients) of the fixed encoder that is
the sampled path, on the same batch, in the same process: medians over rounds in which
all steps take turns. Also the bytes saved for the backward, the peak of memory, and the
variance of the architecture gradients, relative to that of `st` with all scores, on a
narrow network early in training (variance.py): a cheap step of high variance is not a
good one.

    python benchmarks/search_step.py                       # the paper's size
    python benchmarks/search_step.py --size middle --json table.json
    python benchmarks/search_step.py --encoder_conf search.yaml --device cuda
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
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
    saved_bytes,
)
from steps import STEPS, Problem, Step, forward_and_backward
from variance import SmallSupernet

from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.notation.space import SearchSpace

SIZES = {"paper": (8, 600), "middle": (4, 300)}
# Candidates C<context>D<dilation>; four are the paper's.
CANDIDATES = {
    2: [(1, 1), (2, 1)],
    4: [(c, d) for c in (1, 2) for d in (1, 2)],
    8: [(c, d) for c in (1, 2) for d in (1, 2, 3, 4)],
    16: [(c, d) for c in (1, 2, 3, 4) for d in (1, 2, 3, 4)],
}


def measure(
    problem: Problem, steps: dict[str, Step], device: torch.device, repeat: int
) -> dict[str, dict[str, float]]:
    """Time ratios, saved and peak bytes of the fixed training step and of all steps."""
    halves: dict[str, Any] = {"training step of the fixed encoder": None, **steps}
    halves = {name: forward_and_backward(problem, s) for name, s in halves.items()}
    tasks = {
        name: (lambda f=forward, b=backward: b(f()))
        for name, (forward, backward) in halves.items()
    }
    times = interleaved(tasks, repeat, device)
    base = statistics.median(times["training step of the fixed encoder"])
    exclude = problem.exclude()
    saved = {name: saved_bytes(f, exclude) for name, (f, _) in halves.items()}
    peak = {name: peak_bytes(task, device) for name, task in tasks.items()}
    first = next(iter(halves))
    return {
        name: {
            "seconds": statistics.median(times[name]),
            "time": statistics.median(times[name]) / base,
            "saved": saved[name] / saved[first],
            "saved_bytes": saved[name],
            "peak_bytes": peak[name],
        }
        for name in halves
    }


def variances(
    space: SearchSpace, steps: dict[str, Step], args: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Variances relative to those of `st`, for even and for uneven logits.

    And the errors of inexact scores, relative to the gradients of exact ones.
    """
    result: dict[str, dict[str, float]] = {}
    for key, deviation in (("variance_even", 0.0), ("variance_uneven", 1.0)):
        small = SmallSupernet(space, args.input_size, deviation, args.seed)
        exact = small.gradients("st", None, args.draws, args.seed)
        base = exact.var(0).sum()
        for name, step in steps.items():
            if step.kind != "architecture":
                continue
            found = small.gradients(step.estimator, step.conf, args.draws, args.seed)
            values = result.setdefault(name, {})
            values[key] = float(found.var(0).sum() / base)
            if "score_dtype" in (step.conf or {}):
                values["error"] = float((found - exact).norm() / exact.norm())
    return result


def build_spaces(args: argparse.Namespace) -> dict[str, SearchSpace]:
    """The search spaces of the command line, by the heading of their column.

    Raises:
        ConfigError: If a file or a number cannot be used.
    """
    spaces = {}
    for path in args.encoder_conf or ():
        conf = read_yaml_mapping(Path(path), "search space")
        space = SearchSpace.from_conf(conf.get("encoder_conf", conf))
        spaces[Path(path).stem] = space
    for k in () if args.encoder_conf else args.candidates:
        choice = [f"tdnn-C{c}D{d}" for c, d in CANDIDATES[k]]
        block = {"repeat": 3, "layers": [choice]}
        spaces[f"K = {k}"] = SearchSpace.from_conf(
            {"width": args.width, "layers": [block, "tdnn-C1S3D1", block]}
        )
    return spaces


def tables(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: time, saved bytes and peak memory, a column for each space."""
    spaces = list(results)
    parts = []
    for title, form, value in TABLES:
        names = [n for n, r in results[spaces[0]].items() if value(r) is not None]
        rows = [
            [name, *(form.format(value(results[s][name])) for s in spaces)]
            for name in names
        ]
        if not rows:
            continue
        parts.append(f"{title}:\n\n" + markdown_table(["step", *spaces], rows))
    return "\n\n".join(parts)


def _product(result: dict[str, float], key: str) -> Optional[float]:
    return result["time"] * result[key] if key in result else None


TABLES: tuple[tuple[str, str, Callable[[dict[str, float]], Optional[float]]], ...] = (
    (
        "Time, ratio to the training step of the fixed encoder",
        "{:.2f}",
        lambda r: r["time"],
    ),
    ("Bytes saved for the backward, ratio", "{:.2f}", lambda r: r["saved"]),
    (
        "Peak memory beyond weights and batch, MB",
        "{:.0f}",
        lambda r: r["peak_bytes"] * 1e-6,
    ),
    (
        "Variance relative to `st`, even logits (start of a search)",
        "{:.2f}",
        lambda r: r.get("variance_even"),
    ),
    (
        "Variance relative to `st`, logits of standard deviation 1",
        "{:.2f}",
        lambda r: r.get("variance_uneven"),
    ),
    (
        "Error of inexact scores, relative to the norm of exact gradients",
        "{:.4f}",
        lambda r: r.get("error"),
    ),
    (
        "Time x variance, even logits",
        "{:.2f}",
        lambda r: _product(r, "variance_even"),
    ),
    (
        "Time x variance, logits of standard deviation 1",
        "{:.2f}",
        lambda r: _product(r, "variance_uneven"),
    ),
)


def get_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder_conf", nargs="+", help="YAML files of search spaces")
    parser.add_argument(
        "--candidates", type=int, nargs="+", default=[2, 4, 8, 16], choices=CANDIDATES
    )
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--size", choices=SIZES, default="paper")
    parser.add_argument("--batch", type=int, help="instead of that of --size")
    parser.add_argument("--frames", type=int, help="instead of those of --size")
    parser.add_argument("--input_size", type=int, default=120)
    parser.add_argument("--steps", nargs="+", metavar="STEP", help="parts of names")
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="STEP", help="parts of names"
    )
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument(
        "--draws", type=int, default=1000, help="gradients per variance; 0 for none"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="also write the numbers to this file")
    return parser


@plain_errors()
def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Measure and print.

    Raises:
        ConfigError: If an option or a file cannot be used.
    """
    args = get_parser().parse_args(arguments)
    for name in ("width", "batch", "frames", "input_size", "repeat"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} is {value}; accepted is 1 or more")
    device = open_device(args.device, args.threads)
    steps = {
        name: step
        for name, step in STEPS.items()
        if (not args.steps or any(part in name for part in args.steps))
        and not any(part in name for part in args.without)
    }
    if not steps:
        raise ConfigError(
            f"--steps is '{' '.join(args.steps or ())}', which no step that is left "
            f"has in its name; accepted are parts of: {', '.join(STEPS)}"
        )
    batch, frames = SIZES[args.size]
    results = {}
    for name, space in build_spaces(args).items():
        print(f"{name}: {len(steps)} steps", file=sys.stderr, flush=True)
        problem = Problem(
            space,
            batch=args.batch or batch,
            frames=args.frames or frames,
            input_size=args.input_size,
            device=device,
            seed=args.seed,
        )
        results[name] = measure(problem, steps, device, args.repeat)
        if args.draws > 1:
            for step, found in variances(space, steps, args).items():
                results[name][step].update(found)
    print(header(device) + "\n\n" + tables(results))
    if args.json:
        report = {"environment": environment(device), "results": results}
        Path(args.json).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
