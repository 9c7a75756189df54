"""A space, and a made-up search of it."""

from __future__ import annotations

from pathlib import Path

import yaml

from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.curves import CurvePoint, start_epoch, write_point
from espnet_stnas.results.provenance import search_provenance

SPACE = SearchSpace.from_conf(
    {
        "width": 8,
        "layers": [
            "deltas",
            {"repeat": 2, "layers": [["tdnn-C1D1", "tdnn-C2D2"]]},
            "tdnn-C1S3D1",
            {"repeat": 2, "layers": [["tdnn-C1D1", "zero", "identity"]]},
            "conv2d-S2W5",
        ],
    }
)


def probabilities(epoch: int) -> list[list[float]]:
    return [[0.1 * epoch, 1 - 0.1 * epoch]] * 2 + [[0.5, 0.25, 0.25]] * 2


def history(epochs: int = 3) -> list[Architecture]:
    return [
        Architecture(
            SPACE.resolve([1, 0, 1, 2]),
            search_provenance(
                SPACE,
                probabilities(e),
                epoch=e,
                seed=0,
                searching=e > 1,
                input_size=40,
            ),
        )
        for e in range(1, epochs + 1)
    ]


def points(epochs: int = 3, **values: float) -> list[CurvePoint]:
    """Two for each epoch, the first of which is warm-up."""
    return [
        CurvePoint(
            epoch=epoch,
            step=step,
            steps=10,
            warmup=epoch == 1,
            probabilities=tuple(map(tuple, probabilities(epoch))),
            **values,
        )
        for epoch in range(1, epochs + 1)
        for step in (5, 10)
    ]


def experiment(
    path: Path, epochs: int = 3, curves: bool = True, **config: object
) -> Path:
    """The output directory of a search."""
    path.mkdir(parents=True)
    options = {"encoder": "stnas", "encoder_conf": SPACE.to_conf(), "max_epoch": 4}
    options |= {"warmup_epochs": 1, "seed": 7, "estimator": "st", **config}
    (path / "config.yaml").write_text(yaml.safe_dump(options))
    for number, architecture in enumerate(history(epochs), start=1):
        architecture.write(path / "architectures" / f"{number}epoch.yaml")
    if curves:
        for point in points(epochs, loss=3.0, arch_loss=4.0):
            if point.step == 5:
                start_epoch(path, point.epoch)
            write_point(path, point)
    return path
