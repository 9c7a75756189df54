"""Sum up a run of the recipe: what was found, how surely, its errors, the time.

The table of all encoders, and all about the search, is in the report.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from watch import in_words

from espnet_stnas.errors import ConfigError, plain_errors
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.report.summary import Summary, summarise
from espnet_stnas.report.trainings import Training, open_training
from espnet_stnas.results.certainty import Certainty, runner_up
from espnet_stnas.results.error_rates import rate_of

ESPNET = "conformer"


@dataclass(frozen=True)
class Trained:
    """An encoder that was trained and scored.

    Args:
        training: What is known of it.
        score: What its score file holds.
        file: The score file.
    """

    training: Training
    score: Mapping[str, Any]
    file: Path

    @classmethod
    def open(cls, path: Path, decoded: str) -> Trained:
        """Read the training ``path`` and the score in its directory ``decoded``."""
        file = path / decoded / "score.yaml"
        return cls(open_training(path), read_yaml_mapping(file, "score file"), file)

    @property
    def wer(self) -> float:
        """Word error rate, percent."""
        return rate_of(self.score, "wer", self.file)

    def __str__(self) -> str:
        """The word error rate with its interval, where the score has one."""
        text = f"WER {self.wer:.2f} %"
        if {"wer_low", "wer_high"} <= self.score.keys():
            low, high = (
                rate_of(self.score, f"wer_{end}", self.file) for end in ("low", "high")
            )
            text += f" (95 % interval {low:.2f} to {high:.2f})"
        return text


def decided(choices: Sequence[Certainty]) -> str:
    """What the search decided, and how surely."""
    if not choices:
        return "nothing: the search ended in its warm-up"
    steady = sum(c.agreed == c.window for c in choices)
    margins = sorted(c.margin for c in choices)
    least = min(choices, key=lambda c: c.margin)
    other, pi = runner_up(least.pi, least.op)
    return (
        f"{len(choices)} choices, {steady} of them the same over the last "
        f"{least.window} epoch{'s' * (least.window > 1)}; "
        f"margins {margins[0]:.2f} to {margins[-1]:.2f}. "
        f"Least sure: layer {least.layer}, {least.op} {least.pi[least.op]:.2f} before "
        f"{other} {pi:.2f}"
    )


def largest(
    space: SearchSpace, input_size: object, trained: Sequence[Trained]
) -> Optional[Trained]:
    """The trained encoder with the most parameters that the space has; the best one."""
    from espnet_stnas.cost.counts import layer_parameters

    if type(input_size) is not int:
        return None
    counts = layer_parameters(space, input_size)
    found = []
    for one in trained:
        if one.training.space is None:
            continue
        try:
            chosen = space.index(one.training.space)
        except ConfigError:  # of another space
            continue
        layers = [counts[layer] for layer in space.first_layers]
        if all(c[k] == max(c) for c, k in zip(layers, chosen, strict=True)):
            found.append(one)
    return min(found, key=lambda one: one.wer, default=None)


def times(exp: Path, derived: Path, decoded: str) -> str:
    """Wall time of the stages, over all starts."""
    files = {
        "statistics": exp / "stats" / "stats_seconds",
        "search": exp / "search" / "train_seconds",
        "training": derived / "train_seconds",
        "decoding": derived / f"{decoded}_seconds",
    }
    found = {
        name: (sum(map(int, lines)), len(lines))
        for name, file in files.items()
        if file.exists()
        for lines in [file.read_text(encoding="utf-8").split()]
    }
    parts = [
        f"{name} {in_words(s)}" + (f" in {n} starts" if n > 1 else "")
        for name, (s, n) in found.items()
    ]
    total = in_words(sum(s for s, _ in found.values()))
    return f"{total}: {', '.join(parts)}"


def rows(
    exp: Path,
    search: Summary,
    trained: Sequence[Trained],
    decoded: str,
    suffix: str = "",
) -> dict[str, str]:
    """What to print, by headings.

    Args:
        exp: Directory of the results of the recipe.
        search: The search.
        trained: The derived encoder, and baselines.
        decoded: Directory of the decodings in the trainings.
        suffix: What the names of the architecture file and of the report end with.
    """
    report = exp / f"report{suffix}"
    table = {
        "search": f"one of {search.space.num_architectures:,} architectures: "
        f"{exp / f'architecture{suffix}.yaml'}",
        "decided": decided(search.certainties),
    }
    if search.doubts:
        table["doubts"] = "; ".join(doubt.text for doubt in search.doubts)
    if not trained:
        return table
    derived, baselines = trained[0], trained[1:]
    table["errors"] = f"{derived}, CER {rate_of(derived.score, 'cer', derived.file)} %"
    size = search.architecture.provenance.input_size
    big = largest(search.space, size, baselines)
    fixed = [one for one in baselines if one.training.encoder == ESPNET]
    missing = "not trained; --baselines hand,espnet does"
    table["largest"] = f"{big} ({big.training.name})" if big else missing
    table["ESPnet's"] = f"{fixed[0]} (conformer)" if fixed else missing
    if baselines:
        table["all"] = f"{report / 'table.md'}"
    table["report"] = f"{report / 'report.html'}"
    table["time"] = times(exp, derived.file.parents[1], decoded)
    return table


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exp", type=Path, help="directory of the results")
    parser.add_argument("trained", type=Path, nargs="*", help="derived, and baselines")
    parser.add_argument("--decoded", default="decode_test", help="of the trainings")
    parser.add_argument("--suffix", default="", help="of architecture and report")
    args = parser.parse_args(cmd)
    with plain_errors():
        exp = args.exp.resolve()
        arch = exp / f"architecture{args.suffix}.yaml"
        search = summarise(exp / "search", arch=arch)
        trained = [Trained.open(path, args.decoded) for path in args.trained]
        table = rows(exp, search, trained, args.decoded, args.suffix)
    print()
    for name, text in table.items():
        print(f"{name:>10}  {text}")


if __name__ == "__main__":
    main()
