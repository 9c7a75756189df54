"""Bias and variance of every estimator against the exact gradient.

The problem is small enough for the exact gradient of E_z[Loss(z)] with respect to all
logits to be a sum over all architectures, and it is always the same for a seed: two
choices of four TDNN layers, frame-wise cross-entropy, float64. Each estimate is that of
one architecture step; all see the same batch.

    python benchmarks/estimators.py
    python benchmarks/estimators.py --draws 500 --json table.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, Optional

import torch
import torch.nn.functional as F
from measure import environment, header, markdown_table, open_device

from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.estimators import Gate, build_estimator
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.supernet.supernet import Supernet, build_supernet, frozen_weights

CHOICE = ["tdnn-C1D1", "tdnn-C1D2", "tdnn-C2D1", "tdnn-C2D2"]
CONF = {"width": 8, "dropout_rate": 0.0, "layers": [CHOICE, CHOICE, "tdnn-C0"]}
PAIR: dict[str, Any] = {"subgraph_size": 2}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "st": ("st", {}),
    "st, N = 2": ("st", PAIR),
    "st, N = 3": ("st", {"subgraph_size": 3}),
    "st, 1/4 of the utterances": ("st", {"score_share": 0.25}),
    "st, bfloat16 scores": ("st", {"score_dtype": "bfloat16"}),
    "reinmax": ("reinmax", {}),
    "reinmax, N = 2": ("reinmax", PAIR),
    "gumbel_st, temperature 1": ("gumbel_st", {"temperature": 1.0}),
    "gumbel_st, temperature 0.5": ("gumbel_st", {"temperature": 0.5}),
    "proxyless": ("proxyless", {}),
    "snas, temperature 1": ("snas", {"temperature": 1.0}),
    "snas, temperature 0.2": ("snas", {"temperature": 0.2}),
    "darts": ("darts", {}),
    "uniform": ("uniform", {}),
}


class Toy:
    """The problem.

    Args:
        seed: Seed of weights, logits and data.
        logits_sd: Standard deviation of the logits; 0 is the start of a search.
        dtype: Precision of the network.
    """

    def __init__(self, seed: int, logits_sd: float, dtype: torch.dtype) -> None:
        torch.manual_seed(seed)
        network = build_supernet(SearchSpace.from_conf(CONF), input_size=6)
        assert isinstance(network, Supernet)
        for logits in network.logits:
            torch.nn.init.normal_(logits, std=logits_sd)
        self.supernet = network.to(dtype).train()
        self.inputs = torch.randn(4, 12, 6).to(dtype), torch.tensor([12, 11, 9, 8])
        self.targets = torch.randint(8, (4, 12))

    def loss(self, gates: Sequence[Gate]) -> torch.Tensor:
        """The loss () of one forward."""
        learning = self.supernet.logits
        with self.supernet.routed(gates), frozen_weights(self.supernet, learning):
            ys, _ = self.supernet(*self.inputs)
            return F.cross_entropy(ys.transpose(1, 2), self.targets)

    def exact_gradient(self) -> torch.Tensor:
        """D E_z[Loss(z)] / dalpha, all choices in one vector (8,)."""
        alphas = [p.detach().clone().requires_grad_() for p in self.supernet.logits]
        sizes = [range(len(a)) for a in alphas]
        objective = torch.zeros((), dtype=torch.double)
        for path in product(*sizes):
            with torch.no_grad():
                loss = self.loss([Gate((k,)) for k in path])
            pairs = zip(alphas, path, strict=True)
            objective = (
                objective
                + loss * torch.stack([torch.softmax(a, 0)[k] for a, k in pairs]).prod()
            )
        return torch.cat(torch.autograd.grad(objective, alphas))

    def estimates(
        self, name: str, conf: dict[str, Any], draws: int, seed: int
    ) -> torch.Tensor:
        """Estimates (draws, 8) of that gradient."""
        estimator = build_estimator(name, conf)
        generator = torch.Generator().manual_seed(seed)
        rows = []
        for _ in range(draws):
            gates = self.supernet.architecture_gates(estimator, generator)
            if not estimator.learns:
                rows.append(torch.zeros(sum(len(p) for p in self.supernet.logits)))
                continue
            loss = self.loss(gates)
            rows.append(torch.cat(torch.autograd.grad(loss, self.supernet.logits)))
        return torch.stack(rows).double()


def summarise(estimates: torch.Tensor, exact: torch.Tensor) -> dict[str, float]:
    """Bias and spread of estimates (n, D), relative to the norm of the exact (D,)."""
    scale = float(exact.norm())
    mean = estimates.mean(0)
    variance = float(estimates.var(0, unbiased=True).sum())
    return {
        "bias": float((mean - exact).norm()) / scale,
        "bias_error": (variance / len(estimates)) ** 0.5 / scale,
        "cosine": float(F.cosine_similarity(mean, exact, dim=0)),
        "deviation": variance**0.5 / scale,
        "variance": variance,
    }


def get_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=10000, help="per estimator")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--logits_sd",
        type=float,
        default=1.0,
        help="standard deviation of the logits; 0 is the start of a search",
    )
    parser.add_argument("--json", help="also write the numbers to this file")
    return parser


@plain_errors()
def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Measure and print.

    Raises:
        ConfigError: If there are too few draws for a variance.
    """
    args = get_parser().parse_args(arguments)
    if args.draws < 2:
        raise ConfigError(f"--draws is {args.draws}; accepted is 2 or more")
    device = open_device("cpu", 1)
    toy = Toy(args.seed, args.logits_sd, torch.double)
    # There are no half-precision scores of float64 networks.
    single = Toy(args.seed, args.logits_sd, torch.float)
    exact = toy.exact_gradient()
    results = {}
    for row, (name, conf) in ROWS.items():
        print(row, file=sys.stderr, flush=True)
        problem = single if "score_dtype" in conf else toy
        estimates = problem.estimates(name, conf, args.draws, args.seed)
        results[row] = summarise(estimates, exact)
    base = results["st"]["variance"]
    columns = ["estimator", "bias", "cosine", "standard deviation", "variance to st's"]
    rows = [
        [
            row,
            f"{r['bias']:.3f} ± {r['bias_error']:.3f}",
            f"{r['cosine']:.3f}",
            f"{r['deviation']:.2f}",
            f"{r['variance'] / base:.2f}",
        ]
        for row, r in results.items()
    ]
    print(header(device) + "\n\n" + markdown_table(columns, rows))
    if args.json:
        report = {"environment": environment(device), "results": results}
        Path(args.json).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
