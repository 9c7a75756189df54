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
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
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
from variance import SmallSupernet

from espnet_stnas.choice import ChoiceLayer
from espnet_stnas.errors import plain_errors
from espnet_stnas.estimators import Estimator, Gate, build_estimator
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.lengths import zero_padding
from espnet_stnas.network import Network, build_network
from espnet_stnas.ops.norm import frozen_statistics
from espnet_stnas.space import SearchSpace
from espnet_stnas.spec import ConfigError
from espnet_stnas.supernet import Supernet, frozen_weights

SIZES = {"paper": (8, 600), "middle": (4, 300)}
# Candidates C<context>D<dilation>; four are the paper's.
CANDIDATES = {
    2: [(1, 1), (2, 1)],
    4: [(c, d) for c in (1, 2) for d in (1, 2)],
    8: [(c, d) for c in (1, 2) for d in (1, 2, 3, 4)],
    16: [(c, d) for c in (1, 2, 3, 4) for d in (1, 2, 3, 4)],
}
OUTPUTS = 72
PAIR = {"subgraph_size": 2, "weighting": "unbiased"}


@dataclass(frozen=True)
class Step:
    """One kind of step.

    Args:
        kind: ``weights``, ``architecture``, ``joint`` or ``reference`` (architecture
            step as the reference code does it).
        estimator: Name of the estimator.
        conf: Its options.
    """

    kind: str
    estimator: str = "st"
    conf: Optional[dict[str, Any]] = None


STEPS = {
    "reference code's architecture step": Step("reference"),
    "weight step": Step("weights"),
    "architecture step, st": Step("architecture"),
    "architecture step, st, N = 2": Step("architecture", conf=PAIR),
    "architecture step, st, N = 2, by probability": Step(
        "architecture", conf={**PAIR, "proposal": "probabilities"}
    ),
    "architecture step, st, bfloat16 scores": Step(
        "architecture", conf={"score_dtype": "bfloat16"}
    ),
    "architecture step, st, 1/4 of the utterances": Step(
        "architecture", conf={"score_share": 0.25}
    ),
    "architecture step, reinmax": Step("architecture", "reinmax"),
    "architecture step, proxyless": Step("architecture", "proxyless"),
    "joint step, st": Step("joint"),
    "joint step, st, N = 2": Step("joint", conf=PAIR),
    "architecture step, darts": Step("architecture", "darts"),
    "weight step, darts": Step("weights", "darts"),
    "architecture step, snas": Step("architecture", "snas"),
    "weight step, snas": Step("weights", "snas"),
}


class Problem:
    """A supernet, the fixed network of one of its paths, and a batch.

    Args:
        space: The search space.
        batch: Utterances.
        frames: Frames of the longest one; the shortest has three quarters of them.
        input_size: Dimensions of an input frame.
        device: Where.
        seed: Seed of weights and data.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        batch: int,
        frames: int,
        input_size: int,
        device: torch.device,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        supernet = build_network(space, input_size)
        if not isinstance(supernet, Supernet):
            raise ConfigError(
                "encoder_conf: layers holds no choice, so nothing to time"
            )
        self.supernet = supernet.to(device).train()
        self.path = path_of_mean_cost(self.supernet, frames, seed)
        with torch.no_grad():
            for logits, k in zip(self.supernet.logits, self.path, strict=True):
                logits[k] = 30.0  # Estimators then draw this path.
        fixed = build_network(space.resolve(self.path), input_size)
        state = self.supernet.state_dict()
        fixed.load_state_dict({key: state[key] for key in fixed.state_dict()})
        self.fixed = fixed.to(device).train()
        # As in the paper; its cost is small.
        width = space.shapes(input_size)[-1].output_width
        self.projection = torch.nn.Linear(width, OUTPUTS).to(device)
        lengths = torch.linspace(frames, 0.75 * frames, batch).long()
        self.inputs = (
            torch.randn(batch, frames, input_size, device=device),
            lengths.to(device),
        )
        with torch.no_grad():
            outputs = self.projection(self.fixed(*self.inputs)[0])
        self.gradient = torch.randn_like(outputs)
        self.generator = torch.Generator().manual_seed(seed)

    def loss(self, network: Network) -> torch.Tensor:
        """Some loss of the projected outputs whose own cost is small."""
        return (self.projection(network(*self.inputs)[0]) * self.gradient).sum()

    def exclude(self) -> list[torch.Tensor]:
        """What exists anyway, whatever a step saves."""
        modules = (self.supernet, self.fixed, self.projection)
        tensors = [t for m in modules for t in (*m.parameters(), *m.buffers())]
        return [*tensors, *self.inputs, self.gradient]


def path_of_mean_cost(supernet: Supernet, frames: int, seed: int) -> list[int]:
    """Of many random paths, that whose parameters x frames are nearest to the mean."""
    costs = []
    for layer in supernet.layers:
        lengths = {op.spec.output_length(frames) for op in layer.operations}
        frames = max(lengths)
        if isinstance(layer, ChoiceLayer):
            sizes = [sum(p.numel() for p in o.parameters()) for o in layer.operations]
            costs.append([frames * (size + 1) for size in sizes])
    mean = sum(sum(c) / len(c) for c in costs)
    generator = random.Random(seed)
    paths = ([generator.randrange(len(c)) for c in costs] for _ in range(1000))
    return min(
        paths,
        key=lambda path: abs(
            sum(c[k] for c, k in zip(costs, path, strict=True)) - mean
        ),
    )


def forward_and_backward(
    problem: Problem, step: Optional[Step]
) -> tuple[Callable[[], torch.Tensor], Callable[[torch.Tensor], object]]:
    """The two halves of a step; None is the training step of the fixed network."""
    if step is None:
        return partial(problem.loss, problem.fixed), partial(_train, problem.fixed)
    supernet = problem.supernet
    estimator = build_estimator(step.estimator, step.conf)
    if step.kind in ("architecture", "reference"):
        backward = partial(torch.autograd.grad, inputs=supernet.logits)
    else:
        backward = partial(_train, supernet)
    return partial(_routed_loss, problem, step, estimator), backward


def _routed_loss(problem: Problem, step: Step, estimator: Estimator) -> torch.Tensor:
    supernet = problem.supernet
    draw = supernet.weight_gates
    with ExitStack() as stack:
        if step.kind != "weights":
            draw = supernet.architecture_gates
        if step.kind in ("architecture", "reference"):
            stack.enter_context(frozen_statistics(supernet))
        if step.kind == "architecture":
            stack.enter_context(frozen_weights(supernet, supernet.logits))
        if step.kind == "reference":
            stack.enter_context(as_the_reference_does(supernet))
        stack.enter_context(supernet.routed(draw(estimator, problem.generator)))
        return problem.loss(supernet)


def _train(network: Network, loss: torch.Tensor) -> None:
    network.zero_grad(set_to_none=True)
    loss.backward()


@contextmanager
def as_the_reference_does(supernet: Supernet) -> Iterator[None]:
    """Let choices run all candidates in the graph, and keep their outputs."""
    layers = supernet.choice_layers
    for layer in layers:
        layer.forward = partial(_all_in_the_graph, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _all_in_the_graph(
    layer: ChoiceLayer, xs_pad: torch.Tensor, ilens: torch.Tensor, gate: Gate
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of c_k o_k(x), with c_k of value 0 or 1; only the sampled one passes on."""
    assert gate.coefficients is not None
    total: Any = 0.0
    for k, operation in enumerate(layer.operations):
        ys, olens = operation(xs_pad, ilens)
        total = total + gate.coefficients[k] * (ys if k in gate.active else ys.detach())
    return zero_padding(total, olens), olens


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
    """Variances relative to those of `st`, for even and for uneven logits."""
    result: dict[str, dict[str, float]] = {}
    for key, deviation in (("variance_even", 0.0), ("variance_uneven", 1.0)):
        small = SmallSupernet(space, args.input_size, deviation, args.seed)
        base = small.variance("st", None, args.draws, args.seed)
        for name, step in steps.items():
            if step.kind == "architecture":
                found = small.variance(step.estimator, step.conf, args.draws, args.seed)
                result.setdefault(name, {})[key] = found / base
    return result


def build_spaces(args: argparse.Namespace) -> dict[str, SearchSpace]:
    """The search spaces of the command line, by the heading of their column.

    Raises:
        ConfigError: If a file or a number cannot be used.
    """
    spaces = {}
    for path in args.encoder_conf or ():
        conf = read_yaml_mapping(Path(path))
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
    """Measure and print."""
    args = get_parser().parse_args(arguments)
    device = open_device(args.device, args.threads)
    steps = {
        name: step
        for name, step in STEPS.items()
        if not args.steps or any(part in name for part in args.steps)
    }
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
