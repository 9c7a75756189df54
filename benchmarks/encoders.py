"""Compare derived STNAS encoders with ESPnet's own encoders at equal parameters.

Every encoder gets the same batch of random features, all utterances of full length,
in float32. The rows are fixed STNAS encoders, then ESPnet's encoders in their usual
shapes, with the width that brings their parameters nearest to a common target.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any, Callable, Optional

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
from plans import SHAPES, Plan, count, paper_plans, read_plan, sized_plan

from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.files import write_text

FRAMES_PER_SECOND = 100
# ESPnet's subsampling layers fail on less.
MINIMUM = {"batch": 1, "frames": 20, "input_size": 8, "repeat": 1, "seconds": 1}


def make_plans(args: argparse.Namespace) -> tuple[dict[str, Plan], int]:
    """All rows, by name, and the number of parameters that ESPnet's are sized to."""
    if args.encoder_conf:
        plans = {path: read_plan(path) for path in args.encoder_conf}
    else:
        plans = paper_plans()
    target = args.parameters
    if target is None:
        target = next(iter(plans.values())).parameters(args.input_size)
    for name in args.encoders:
        plans[name] = sized_plan(name, target, args.input_size)
    return plans, target


class Bench:
    """One encoder on the device, with what is measured of it.

    Args:
        plan: The encoder.
        xs_pad: Features of a training batch (B, T, D).
        utterance: Features of the utterance to be recognised (1, T', D).
    """

    def __init__(
        self, plan: Plan, xs_pad: torch.Tensor, utterance: torch.Tensor
    ) -> None:
        self.plan = plan
        self.encoder = plan.build(xs_pad.size(2)).to(xs_pad.device)
        self.inputs = (xs_pad, _full_lengths(xs_pad))
        self.utterance = (utterance, _full_lengths(utterance))

    def forward(self) -> torch.Tensor:
        """Encode the training batch."""
        return self.encoder(*self.inputs)[0]

    def step(self) -> object:
        """A training step without the optimizer."""
        ys_pad = self.forward()
        # Not the gradient of a plain sum: the last LayerNorm would cancel it, and
        # CPUs are slow on the tiny numbers that remain.
        return torch.autograd.grad(
            ys_pad,
            list(self.encoder.parameters()),
            torch.randn_like(ys_pad),
            allow_unused=True,
        )

    @torch.no_grad()
    def recognise(self) -> object:
        """Encode the one utterance."""
        return self.encoder(*self.utterance)

    def saved(self) -> int:
        """Bytes saved for the backward pass of a training step."""
        own = [*self.encoder.parameters(), *self.encoder.buffers(), *self.inputs]
        return saved_bytes(self.forward, own)

    def peak(self, device: torch.device) -> Optional[int]:
        """CUDA memory of a training step with this encoder alone on the device."""
        if device.type != "cuda":
            return None
        weights = sum(p.nbytes for p in self.encoder.parameters())
        return weights + peak_bytes(self.step, device)


def _full_lengths(xs_pad: torch.Tensor) -> torch.Tensor:
    return torch.full((xs_pad.size(0),), xs_pad.size(1), device=xs_pad.device)


def run(
    plans: dict[str, Plan], args: argparse.Namespace, device: torch.device
) -> list[dict[str, Any]]:
    """Measure all rows."""
    torch.manual_seed(args.seed)
    xs_pad = torch.randn(args.batch, args.frames, args.input_size, device=device)
    frames = args.seconds * FRAMES_PER_SECOND
    utterance = torch.randn(1, frames, args.input_size, device=device)
    benches = {n: Bench(plan, xs_pad, utterance) for n, plan in plans.items()}
    print("training steps:", file=sys.stderr)
    tasks = {name: bench.step for name, bench in benches.items()}
    steps = interleaved(tasks, args.repeat, device, args.seed)
    saved = {name: bench.saved() for name, bench in benches.items()}
    peaks = {name: bench.peak(device) for name, bench in benches.items()}
    print("inference:", file=sys.stderr)
    for bench in benches.values():
        bench.encoder.eval()
    tasks = {name: bench.recognise for name, bench in benches.items()}
    inference = interleaved(tasks, args.repeat, device, args.seed)
    first = next(iter(benches))
    return [
        {
            "encoder": name,
            "parameters": count(bench.encoder),
            "step_relative": median(steps[name]) / median(steps[first]),
            "saved_relative": saved[name] / saved[first],
            "peak_bytes": peaks[name],
            "real_time_factor": median(inference[name]) / args.seconds,
            "size": bench.plan.size,
            "encoder_conf": bench.plan.conf,
            "step_seconds": steps[name],
            "saved_bytes": saved[name],
            "inference_seconds": inference[name],
        }
        for name, bench in benches.items()
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "encoder": lambda row: row["encoder"],
        "parameters": lambda row: f"{row['parameters']:,}",
        "training step": lambda row: f"{row['step_relative']:.2f}",
        "saved for backward": lambda row: f"{row['saved_relative']:.2f}",
        "peak memory (MiB)": lambda row: f"{row['peak_bytes'] / 2**20:,.0f}",
        "inference RTF": lambda row: f"{row['real_time_factor']:.4f}",
        "size": lambda row: row["size"],
    }
    if rows[0]["peak_bytes"] is None:
        del columns["peak memory (MiB)"]
    cells = [[show(row) for show in columns.values()] for row in rows]
    return markdown_table(list(columns), cells)


def check(args: argparse.Namespace) -> None:
    """Refuse options that cannot be honoured.

    Raises:
        ConfigError: For the first one found.
    """
    for name, minimum in MINIMUM.items():
        if getattr(args, name) < minimum:
            raise ConfigError(
                f"--{name} is {getattr(args, name)}; accepted is {minimum} or more"
            )
    if args.parameters is not None and args.parameters < 1:
        raise ConfigError(f"--parameters is {args.parameters}; accepted is 1 or more")
    for name in args.encoders:
        if name not in SHAPES:
            raise ConfigError(
                f"unknown encoder '{name}'; accepted are: {', '.join(SHAPES)}"
            )


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--encoder_conf", nargs="+", metavar="FILE", help="Architectures to compare")
    add("--encoders", nargs="*", default=list(SHAPES), help="ESPnet encoders")
    add("--parameters", type=int, help="Target; if not given, that of the first row")
    add("--batch", type=int, default=8, help="Utterances of a training step")
    add("--frames", type=int, default=600, help="Frames of each of them")
    add("--seconds", type=int, default=10, help="Speech for the real-time factor")
    # The paper's search space computes the differences of 40 filterbanks itself.
    add("--input_size", type=int, default=40, help="Dimensions of a frame")
    add("--repeat", type=int, default=5, help="Timed rounds; the median counts")
    add("--threads", type=int, default=1, help="CPU threads of torch")
    add("--device", default="cpu", choices=("cpu", "cuda"), help="Where to measure")
    add("--seed", type=int, default=0, help="Seed of weights, inputs and order")
    add("--json", metavar="FILE", help="File to write all numbers to")
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    with plain_errors():
        check(args)
        device = open_device(args.device, args.threads)
        plans, target = make_plans(args)
        rows = run(plans, args, device)
        clock = "CPU seconds" if device.type == "cpu" else "wall-clock seconds"
        print(f"{header(device)}\n\n{table(rows)}\n")
        print(
            "Training step (forward and backward) and memory saved for the backward "
            "are relative\nto the first row; real-time factor (RTF) of one utterance "
            f"of {args.seconds} s; {clock}, medians\nof {args.repeat}. ESPnet's "
            f"encoders are sized to {target:,} parameters."
        )
        if args.json is not None:
            result = {
                "environment": environment(device),
                "options": vars(args),
                "target": target,
                "rows": rows,
            }
            write_text(args.json, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
