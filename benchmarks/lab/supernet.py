"""Trainings of supernets, and what they say of architectures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import jiwer
import torch
import torch.nn.functional as F

from espnet_stnas.cost.goal import CostOptions, build_term
from espnet_stnas.estimators import build_estimator
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.supernet.paths import on_paths
from espnet_stnas.supernet.steps import architecture_step
from espnet_stnas.supernet.supernet import Supernet, build_supernet, path_generator
from lab.corpus import Batch, Corpus, endless, make_batches
from lab.model import Recogniser
from lab.training import Settings
from lab.ways import PASSES, update

# Share of the training part for the architecture steps.
ARCHITECTURE_SHARE = 0.2


@dataclass(frozen=True)
class Search:
    """How a supernet is trained.

    Args:
        space: The search space.
        estimator: Name of the estimator after the warm-up.
        warmup: Share of the steps with uniform paths, in which the logits rest.
        logit_rate: Learning rate of the logits.
        way: How the weights are trained; see :mod:`lab.ways`. Ways whose updates train
            several paths make fewer updates.
        settings: The training of the weights.
        cost_weight: Weight of the number of parameters in the loss of the logits.
    """

    space: SearchSpace
    estimator: str = "st"
    warmup: float = 0.5
    logit_rate: float = 0.01
    way: str = "one"
    settings: Settings = field(default_factory=Settings)
    cost_weight: float = 0.0


def train_supernet(
    search: Search, corpus: Corpus, seed: int, parts: int
) -> Iterator[tuple[int, Recogniser]]:
    """Train a supernet; yield the steps so far and the model after each part.

    Args:
        search: The supernet and its training.
        corpus: Its training part is split for weights and logits.
        seed: Seed of everything random.
        parts: Number of equal parts of the training.
    """
    torch.manual_seed(seed)
    passes = PASSES.get(search.way, 1)
    settings = replace(search.settings, steps=search.settings.steps // passes)
    supernet = build_supernet(search.space, corpus.input_size)
    width = search.space.output_width(corpus.input_size)
    model = Recogniser(supernet, width, corpus).train()
    utterances = corpus.parts["train"]
    order = torch.randperm(len(utterances)).tolist()
    cut = round(ARCHITECTURE_SHARE * len(order))
    batches, held_out = (
        make_batches([utterances[i] for i in part], settings.frames)
        for part in (order[cut:], order[:cut])
    )
    ours, others = endless(batches, seed), endless(held_out, seed)
    known = {id(p) for p in supernet.logits}
    weights = [p for p in model.parameters() if id(p) not in known]
    optimizer = torch.optim.Adam(weights)
    logit_optimizer = torch.optim.Adam(supernet.logits, lr=search.logit_rate)
    uniform, estimator = build_estimator("uniform"), build_estimator(search.estimator)

    def clip(*_: object) -> None:
        torch.nn.utils.clip_grad_norm_(weights, settings.max_norm)

    optimizer.register_step_pre_hook(clip)
    if search.cost_weight:
        options = CostOptions("params", search.cost_weight)
        term = build_term(search.space, corpus.input_size, options)

        def add_cost(*_: object) -> None:
            _, gradients = term.gradients(supernet.logits)
            for p, gradient in zip(supernet.logits, gradients, strict=True):
                if p.grad is not None:
                    p.grad += gradient

        logit_optimizer.register_step_pre_hook(add_cost)
    rising = round(search.warmup * settings.steps)
    for step in range(settings.steps):
        searching = step >= rising
        if searching and estimator.learns:
            batch = next(others)
            draws = path_generator(seed, 1, step + 1, "architecture")
            architecture_step(
                model, lambda b=batch: model(b), estimator, logit_optimizer, draws
            )
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(step, len(batches))
        batch = next(ours)
        update(
            search.way,
            model,
            batch,
            estimator if searching else uniform,
            optimizer,
            path_generator(seed, 1, step + 1, "weights"),
            step / settings.steps,
        )
        if (step + 1) * parts % settings.steps < parts:
            yield (step + 1) * passes, model


@dataclass(frozen=True)
class PathQuality:
    """How well a path does with the weights of a supernet.

    Args:
        loss: CTC loss per utterance.
        cer: Character error rate in percent.
    """

    loss: float
    cer: float


def path_qualities(
    model: Recogniser, paths: Sequence[Sequence[int]], batches: Sequence[Batch]
) -> list[PathQuality]:
    """Measure paths with the weights of the supernet.

    Args:
        model: A recogniser with a supernet.
        paths: A candidate index for each choice.
        batches: What the paths are measured on.
    """
    supernet = model.encoder
    assert isinstance(supernet, Supernet)
    said = [text for batch in batches for text in batch.texts]
    losses: list[list[float]] = [[] for _ in paths]
    found: list[list[str]] = [[] for _ in paths]
    for batch in batches:

        def use(
            ys: torch.Tensor, olens: torch.Tensor, batch: Batch = batch
        ) -> tuple[list[float], list[str]]:
            log_p = F.log_softmax(model.output(ys), dim=2)
            return model.losses(log_p, olens, batch).tolist(), model.read(log_p, olens)

        results = on_paths(supernet, paths, batch.frames, batch.lengths, use)
        for number, (values, texts) in enumerate(results):
            losses[number] += values
            found[number] += texts
    return [
        PathQuality(
            sum(values) / len(values),
            100 * jiwer.cer(said, texts),
        )
        for values, texts in zip(losses, found, strict=True)
    ]


def surprises(model: Recogniser, paths: Sequence[Sequence[int]]) -> list[float]:
    """Return -log pi of each path: how improbable the logits hold it."""
    supernet = model.encoder
    assert isinstance(supernet, Supernet)
    pi = supernet.probabilities()
    return [
        -sum(math.log(float(p[k])) for p, k in zip(pi, path, strict=True))
        for path in paths
    ]
