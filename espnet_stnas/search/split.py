"""The architecture split: training utterances set aside for architecture steps."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Sequence
from pathlib import Path

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_bytes, read_kaldi_text, write_text
from espnet_stnas.messages import quote

ROLES = ("weights", "architecture")
_SHAPE = re.compile(r"[0-9]+(,[0-9]+)*")
# ESPnet's and Kaldi's speed perturbation adds this prefix to utterance ids.
_SPEED_PREFIX = re.compile(r"^sp\d+(\.\d+)?-")


def split_utterances(
    utterances: Sequence[str], fraction: float, seed: int
) -> dict[str, list[str]]:
    """Divide utterances into disjoint sets for weight and architecture steps.

    Speed-perturbed copies of an utterance stay together, since they contain the same
    words by the same speaker. The order of ``utterances`` does not matter.

    Args:
        utterances: Utterance ids.
        fraction: Share of the architecture set, between 0 and 1.
        seed: Seed of the draw.

    Returns:
        Sorted utterance ids by role: ``weights`` and ``architecture``.

    Raises:
        ConfigError: If the fraction is not between 0 and 1, or a set is empty.
    """
    if type(fraction) not in (int, float) or not 0 < fraction < 1:
        raise ConfigError(
            f"arch_fraction is {fraction!r}; accepted is a number between 0 and 1, "
            "both excluded"
        )
    recordings = sorted({_SPEED_PREFIX.sub("", u) for u in utterances})
    random.Random(seed).shuffle(recordings)
    count = round(fraction * len(recordings))
    if not 0 < count < len(recordings):
        raise ConfigError(
            f"arch_fraction {fraction} of {len(recordings)} training recordings leaves "
            f"{count} for architecture steps and {len(recordings) - count} for weight "
            "steps; each needs at least one"
        )
    chosen = set(recordings[:count])
    parts: dict[str, list[str]] = {role: [] for role in ROLES}
    for utterance in sorted(utterances):
        is_chosen = _SPEED_PREFIX.sub("", utterance) in chosen
        parts["architecture" if is_chosen else "weights"].append(utterance)
    return parts


def plan_split(
    shape_files: Sequence[str],
    output_dir: Path,
    *,
    fraction: float,
    seed: int,
) -> dict[str, dict[Path, str]]:
    """Split ESPnet shape files, which determine the utterances of the batches.

    Args:
        shape_files: ESPnet shape files of the training set, with equal utterances.
        output_dir: Directory of the experiment.
        fraction: Share of the architecture set.
        seed: Seed of the draw.

    Returns:
        For each role, the paths and texts of the new shape files:
        ``<output_dir>/split/<role>/<name of the shape file>``.

    Raises:
        ConfigError: If a file is missing, damaged, or named like another one, a set is
            empty, or the experiment continues from a checkpoint with another split.
    """
    _refuse_one_name(shape_files)
    tables = [_read_shapes(path) for path in shape_files]
    if not tables:
        raise ConfigError(
            "train_shape_file is empty; the architecture split needs at least one "
            "shape file (made by --collect_stats true)"
        )
    parts = split_utterances(list(tables[0]), fraction, seed)
    plan: dict[str, dict[Path, str]] = {role: {} for role in ROLES}
    for role, utterances in parts.items():
        for path, table in zip(shape_files, tables, strict=True):
            target = output_dir / "split" / role / Path(path).name
            lines = [f"{u} {table[u]}" for u in utterances if u in table]
            plan[role][target] = "\n".join(lines) + "\n"
            _refuse_another(target, plan[role][target], output_dir)
    return plan


def write_split(
    shape_files: Sequence[str],
    output_dir: Path,
    *,
    fraction: float,
    seed: int,
) -> dict[str, list[str]]:
    """Write the shape files of a split. See `plan_split` for the arguments.

    Returns:
        Paths of the new shape files by role.

    Raises:
        ConfigError: See `plan_split`; nothing is written then.
    """
    plan = plan_split(shape_files, output_dir, fraction=fraction, seed=seed)
    for files in plan.values():
        for path, text in files.items():
            write_text(path, text)
    counts = {role: min(t.count("\n") for t in plan[role].values()) for role in ROLES}
    logging.info(
        f"Architecture split (arch_fraction {fraction}, seed {seed}): "
        + ", ".join(f"{counts[role]} utterances for {role} steps" for role in ROLES)
        + f", written to {output_dir / 'split'}"
    )
    return {role: [str(path) for path in plan[role]] for role in ROLES}


def _refuse_another(target: Path, text: str, output_dir: Path) -> None:
    resumes = (output_dir / "checkpoint.pth").exists() and target.exists()
    if resumes and read_bytes(target, "shape file") != text.encode():
        raise ConfigError(
            f"{target} holds another split than arch_fraction, seed and training set "
            f"give now, and {output_dir} has a checkpoint to go on from; set them as "
            "they were, or choose another output_dir"
        )


def _refuse_one_name(shape_files: Sequence[str]) -> None:
    """Refuse files that would get the same name in the directory of the split."""
    taken: dict[str, str] = {}
    for path in shape_files:
        name = Path(path).name
        if name in taken:
            raise ConfigError(
                f"train_shape_file is both {taken[name]} and {path}; accepted are "
                "files of different names, since their parts of the split stand in one "
                "directory"
            )
        taken[name] = path


def _read_shapes(path: str) -> dict[str, str]:
    try:
        table = read_kaldi_text(path, "train_shape_file")
    except ConfigError as error:
        raise ConfigError(f"{error} (--collect_stats true makes it)") from None
    for utterance, shape in table.items():
        if not _SHAPE.fullmatch(shape):
            raise ConfigError(
                f"train_shape_file {path}: the utterance {quote(utterance)} has the "
                f"shape {quote(shape)}; accepted are integers with commas, such as "
                "'utt1 523,80'"
            )
    return table
