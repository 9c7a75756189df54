"""How often intervals have the true error rate, on numbers whose truth is known.

    python benchmarks/intervals.py

Compares three intervals of the mean of a few trainings: that of stnas verify, a
bootstrap over utterances alone, and one over utterances and trainings.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from espnet_stnas.selection.comparison import Comparison, Group

WORDS = 8
RATE = 20.0
_SHAPES = ((1, 3), (3, 1), (1, 5), (8, 2))
_SAMPLES = 500


def drawn(
    rng: np.random.Generator,
    architectures: int,
    seeds: int,
    *,
    spread: float = 0.03,
    utterances: int = 120,
) -> tuple[list[np.ndarray], list[int]]:
    """Draw errors of trainings (seeds, utterances), and the words of the utterances.

    Utterances differ in difficulty, and trainings by a spread around ``RATE``.

    Args:
        rng: Source of the draws.
        architectures: How many; if it is one, its seeds have the spread.
        seeds: Trainings of each.
        spread: Standard deviation of true error rates.
        utterances: How many.
    """
    rates = RATE / 100 + rng.normal(0, 0.08, utterances)
    own = rng.normal(0, spread, (architectures, 1))
    if architectures == 1:
        own = own * 0
    noise = rng.normal(0, spread / 3 if architectures > 1 else spread, seeds)
    true = np.clip(rates + own[..., None] + noise[:, None], 0, 1)
    return list(rng.binomial(WORDS, true)), [WORDS] * utterances


def intervals(
    rng: np.random.Generator, architectures: int, seeds: int, repetitions: int
) -> Iterator[list[tuple[float, float]]]:
    """Yield the three intervals for one draw after the other."""
    for _ in range(repetitions):
        errors, said = drawn(rng, architectures, seeds)
        found = Comparison({"": Group(errors)}, said, samples=_SAMPLES).rate("")
        units = np.stack(errors).mean(axis=1) if architectures > 1 else errors[0]
        trainings, utterances = units.shape
        sets = rng.multinomial(
            utterances, np.full(utterances, 1 / utterances), size=_SAMPLES
        )
        rates = 100 * (sets @ units.T) / (sets @ np.asarray(said))[:, None]
        chosen = rng.multinomial(
            trainings, np.full(trainings, 1 / trainings), size=_SAMPLES
        )
        both = (rates * chosen).sum(axis=1) / trainings
        plain = [np.percentile(r, [2.5, 97.5]) for r in (rates.mean(axis=1), both)]
        yield [(found.low, found.high), *((float(a), float(b)) for a, b in plain)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repetitions", type=int, default=2000)
    args = parser.parse_args()
    print(
        "| architectures x seeds | of verify | utterances | utterances and trainings |"
    )
    print("| --- | ---: | ---: | ---: |")
    for shape in _SHAPES:
        rng = np.random.default_rng(0)
        found = np.array(list(intervals(rng, *shape, args.repetitions)))
        covered = (found[:, :, 0] <= RATE) & (found[:, :, 1] >= RATE)
        shares = " | ".join(f"{100 * share:.1f}" for share in covered.mean(axis=0))
        print(f"| {shape[0]} x {shape[1]} | {shares} |")


if __name__ == "__main__":
    main()
