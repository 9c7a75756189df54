"""Estimates what a search of the recipes costs: in trainings, and in hours.

    python benchmarks/hours.py
    python benchmarks/hours.py --device cuda --batch 64

Measures the steps of each recipe's search space on random frames, and multiplies by the
steps that the recipe's YAMLs make, on as many hours of speech as the corpus has, three
times (speed perturbation). Nothing is searched. Loading, the CTC loss, validation and
decoding do not count, so these are estimates for planning.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from measure import header, markdown_table, open_device
from search_step import measure
from steps import STEPS, Problem

from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.notation.space import SearchSpace

EGS = Path(__file__).parents[1] / "egs2"
# Hours of the training sets of the recipes.
HOURS = {"wsj": 81.0, "swbd": 286.0, "librispeech_100": 100.6}
PERTURBED = 3
FRAMES_PER_HOUR = 3600 * 100
USED = ("weight step", "architecture step, st")


class Plan(NamedTuple):
    """What two YAMLs of a recipe make.

    Args:
        weights: Passes over the training data in weight steps of the search.
        logits: The same in architecture steps.
        training: The same in a training of a fixed encoder.
    """

    weights: float
    logits: float
    training: float


def plan_of(search: dict, training: dict) -> Plan:
    """Return the passes that the YAMLs of a recipe make over the training data."""
    share = search["arch_fraction"]
    searching = search["max_epoch"] - search["warmup_epochs"]
    return Plan(
        search["max_epoch"] * (1 - share), searching * share, training["max_epoch"]
    )


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    recipes = [name for name in HOURS if (EGS / name).is_dir()]
    parser.add_argument("--recipes", nargs="+", choices=recipes, default=recipes)
    parser.add_argument("--batch", type=int, default=8, help="Utterances")
    parser.add_argument("--frames", type=int, default=600, help="Of each of them")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    args = parser.parse_args(cmd)
    device = open_device(args.device, args.threads)
    rows = []
    for name in args.recipes:
        print(name, file=sys.stderr, flush=True)
        conf = EGS / name / "asr_stnas1" / "conf"
        search, training = (
            read_yaml_mapping(conf / file, "config")
            for file in ("search.yaml", "train_asr.yaml")
        )
        plan = plan_of(search, training)
        problem = Problem(
            SearchSpace.from_conf(search["encoder_conf"]),
            batch=args.batch,
            frames=args.frames,
            input_size=search["frontend_conf"]["n_mels"],
            device=device,
            seed=0,
        )
        steps = {step: STEPS[step] for step in USED}
        found = measure(problem, steps, device, args.repeat)
        one, weight, logit = (step["seconds"] for step in found.values())
        frames = HOURS[name] * PERTURBED * FRAMES_PER_HOUR
        each = frames / (args.batch * args.frames) / 3600
        trained = plan.training * each * one
        searched = each * (plan.weights * weight + plan.logits * logit)
        rows.append(
            [
                name,
                f"{HOURS[name]:.0f} h x {PERTURBED}",
                f"{searched / trained:.2f}",
                f"{searched:.0f}",
                f"{trained:.0f}",
            ]
        )
    hours = "GPU h" if args.device == "cuda" else "CPU h, one thread"
    names = ["a search, in trainings", f"a search, {hours}", f"a training, {hours}"]
    print(
        header(device), markdown_table(["recipe", "speech", *names], rows), sep="\n\n"
    )


if __name__ == "__main__":
    main()
