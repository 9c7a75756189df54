"""What the candidates of a search space cost, and whether latencies add up.

Parameters and multiply-accumulates are counted; latencies come from the table that
stnas measure-latency wrote. With one, the cheapest and the most expensive
architecture are also timed as a whole, on the same number of frames and in the runtime
of the table: torch, or onnxruntime with or without 8 bits.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import median
from typing import Optional

import torch
from measure import header, interleaved, markdown_table, open_device

from espnet_stnas.cost.counts import macs_table, parameter_table
from espnet_stnas.cost.latency_table import LatencyTable
from espnet_stnas.cost.table import CostTable
from espnet_stnas.errors import plain_errors
from espnet_stnas.export.encoder import ExportedEncoder
from espnet_stnas.export.latency import onnx_task
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.network.network import build_network
from espnet_stnas.notation.space import SearchSpace


def candidate_table(space: SearchSpace, costs: dict[str, CostTable]) -> str:
    """The costs of all candidates; choices with equal ones share their rows."""
    groups: dict[tuple, list[int]] = {}
    for choice, index in enumerate(space.first_layers):
        names = tuple(map(str, space.choices[choice].candidates))
        key = names, tuple(t.choices[choice] for t in costs.values())
        groups.setdefault(key, []).append(index + 1)
    rows = [["fixed layers", "", *(f"{t.fixed:,.0f}" for t in costs.values())]]
    for (names, columns), layers in groups.items():
        place = ", ".join(map(str, layers))
        for k, name in enumerate(names):
            rows.append([place, name, *(f"{c[k]:,.0f}" for c in columns)])
    for what in ("cheapest", "most expensive"):
        attribute = "minimum" if what == "cheapest" else "maximum"
        values = (f"{getattr(t, attribute):,.0f}" for t in costs.values())
        rows.append([f"{what} architecture", "", *values])
    return markdown_table(["layers", "candidate", *costs], rows)


def whole_table(
    space: SearchSpace, costs: CostTable, table: LatencyTable, repeat: int
) -> str:
    """The latency of whole networks beside the sum of their layers."""
    device = open_device("cpu", table.threads)
    dearest = tuple(c.index(max(c)) for c in costs.choices)
    paths = {"cheapest": costs.cheapest, "most expensive": dearest}
    xs = torch.randn(1, table.frames, table.input_size)
    lengths = torch.tensor([table.frames])
    tasks = {}
    for name, path in paths.items():
        found = space.resolve(path)
        if table.runtime == "torch":
            network = build_network(found, table.input_size).eval()
            tasks[name] = lambda network=network: network(xs, lengths)
            continue
        encoder = STNASEncoder(table.input_size, **found.to_conf())
        module = ExportedEncoder(encoder, table.input_size)
        tasks[name] = onnx_task(module, xs, table.precision, table.threads)
    with torch.no_grad():
        times = interleaved(tasks, repeat, device)
    rows = []
    for name, path in paths.items():
        whole = 1e6 * median(times[name])
        ratio = costs.of(path) / whole
        rows.append([name, f"{costs.of(path):,.0f}", f"{whole:,.0f}", f"{ratio:.2f}"])
    columns = ["architecture", "sum of layers, us", "as a whole, us", "ratio"]
    return markdown_table(columns, rows)


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="conf/space/tdnn_paper.yaml")
    parser.add_argument("--input_size", type=int, default=40)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--latency_table", help="Measured on this CPU")
    parser.add_argument("--repeat", type=int, default=10)
    args = parser.parse_args(cmd)
    with plain_errors():
        config = read_yaml_mapping(args.space, "search space")
        space = SearchSpace.from_conf(config.get("encoder_conf") or {})
        costs = {
            "parameters": parameter_table(space, args.input_size),
            "multiply-accumulates": macs_table(space, args.input_size, args.frames),
        }
        whole = None
        if args.latency_table:
            table = LatencyTable.read(args.latency_table)
            latency = table.costs(space, args.input_size, args.latency_table)
            costs["latency, us"] = latency
            whole = whole_table(space, latency, table, args.repeat)
    print(header(torch.device("cpu")), end="\n\n")
    print(candidate_table(space, costs))
    if whole is not None:
        print()
        print(whole)


if __name__ == "__main__":
    main()
