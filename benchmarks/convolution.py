"""Why TDNN layers convolve with the channels last: Conv1d against what they do.

For several sizes, this prints the time of a layer with `Conv1d` on transposed frames,
relative to that of the layer as it is (ops/tdnn.py), which computes the same.

    python benchmarks/convolution.py
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from typing import Optional

import torch
from conv1d import with_conv1d
from measure import header, interleaved, markdown_table, open_device

from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.notation.spec import parse_op
from espnet_stnas.ops import build_operation
from espnet_stnas.ops.tdnn import TDNN

# Width, utterances, frames.
SIZES = [(640, 8, 600), (640, 4, 300), (64, 16, 200)]


def compare(
    op: str, width: int, batch: int, frames: int, device: torch.device, repeat: int
) -> tuple[float, float]:
    """Ratios of the time of `Conv1d` to that of the layer: forward, training step."""
    layer = build_operation(parse_op(op, "--operations"), width, width, 0.0).to(device)
    if not isinstance(layer, TDNN):
        raise ConfigError(f"--operations: '{op}' is not a tdnn; accepted is tdnn-...")
    xs_pad = torch.randn(batch, frames, width, device=device, requires_grad=True)
    ilens = torch.full((batch,), frames, device=device)
    plain = with_conv1d(layer).to(device)
    functions: dict[str, Callable[[], torch.Tensor]] = {
        "conv1d": lambda: plain(xs_pad, ilens)[0],
        "layer": lambda: layer(xs_pad, ilens)[0],
    }
    wanted = {
        "conv1d": [xs_pad, *plain.parameters()],
        "layer": [xs_pad, *layer.parameters()],
    }
    one, other = (f() for f in functions.values())
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    gradient = torch.randn_like(functions["layer"]())

    def forward(name: str) -> Callable[[], object]:
        return torch.no_grad()(functions[name])

    def train(name: str) -> Callable[[], object]:
        return lambda: torch.autograd.grad(functions[name](), wanted[name], gradient)

    ratios = []
    for kind in (forward, train):
        tasks = {name: kind(name) for name in functions}
        times = interleaved(tasks, repeat, device)
        medians = {name: statistics.median(t) for name, t in times.items()}
        ratios.append(medians["conv1d"] / medians["layer"])
    return ratios[0], ratios[1]


@plain_errors()
def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--operations", nargs="+", default=["tdnn-C1D1", "tdnn-C1D2", "tdnn-C2D2"]
    )
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    args = parser.parse_args(arguments)
    if args.repeat < 1:
        raise ConfigError(f"--repeat is {args.repeat}; accepted is 1 or more")
    device = open_device(args.device, args.threads)
    rows = []
    for width, batch, frames in SIZES:
        for op in args.operations:
            forward, train = compare(op, width, batch, frames, device, args.repeat)
            size = f"{width} wide, B {batch} x T {frames}"
            rows.append([op, size, f"{forward:.2f}", f"{train:.2f}"])
    columns = ["operation", "size", "forward", "training step"]
    print(header(device) + "\n\n" + markdown_table(columns, rows))


if __name__ == "__main__":
    main()
