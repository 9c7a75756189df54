"""How far a supernet can be believed: what its paths did on validation data. No torch.

A search measures drawn paths after its epochs and writes ``supernet.yaml``. Here the
file is read, and sentences are made of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, dump_yaml, read_yaml_mapping, write_text
from espnet_stnas.messages import one_line

FILE = "supernet.yaml"
# Share of tokens that are wrong while CTC puts out nothing but blanks, or little else.
PLATEAU = 0.9
# Paths differ if their spread is so many times the noise of the measurement.
ABOVE_NOISE = 2.0
# By chance alone, Kendall's tau of 50 paths is above it in 2 of 100 cases.
AGREEMENT = 0.2
_HELP = "docs/search_health.md"


@dataclass(frozen=True)
class Sample:
    """What some paths did with the weights of one epoch.

    Args:
        epoch: The epoch.
        paths: Number of paths; they are drawn uniformly.
        utterances: Number of utterances.
        loss: Mean of their losses.
        spread: Standard deviation of the paths' losses.
        noise: Standard error of a path's loss, compared to the other paths: the part of
            the spread that comes from the choice of utterances.
        error: Mean share of wrong tokens, if the model counts them.
        tau: Kendall's tau between the ranking by the logits and that by loss, if the
            logits learn.
    """

    epoch: int
    paths: int
    utterances: int
    loss: float
    spread: float
    noise: float
    error: Optional[float] = None
    tau: Optional[float] = None

    @property
    def differ(self) -> bool:
        """Whether paths differ by more than noise."""
        return self.spread > ABOVE_NOISE * self.noise


@dataclass(frozen=True)
class Health:
    """All samples of a search.

    Args:
        samples: One sample for each measured epoch, in order.
        reference: The largest architecture, trained alone in the first epochs, if the
            search did so.
        warmup_end: Last epoch of the warm-up, if the search chose it by itself.
    """

    samples: tuple[Sample, ...] = ()
    reference: Optional[Sample] = None
    warmup_end: Optional[int] = None

    def up_to(self, epoch: int) -> Health:
        """Return what was known after an epoch."""
        reference, end = self.reference, self.warmup_end
        return Health(
            tuple(s for s in self.samples if s.epoch <= epoch),
            None if reference is None or reference.epoch > epoch else reference,
            None if end is None or end > epoch else end,
        )

    def with_sample(self, sample: Sample) -> Health:
        """Return this with one more sample."""
        return replace(self, samples=(*self.samples, sample))

    def trained(self, sample: Sample) -> Optional[bool]:
        """Return whether the supernet was trained when a sample was taken.

        It is if its paths do as well as the reference, on average. Without a reference,
        it is if they put out more than blanks.

        Returns:
            None if nothing tells: there is neither a reference nor an error rate.
        """
        if not math.isfinite(sample.loss):
            return False
        if self.reference is not None:
            return sample.loss <= self.reference.loss
        if sample.error is None:
            return None
        return sample.error < PLATEAU

    def ready(self, sample: Sample) -> bool:
        """Return whether logits can learn from the paths of a sample."""
        return bool(self.trained(sample)) and sample.differ

    def findings(self) -> tuple[list[str], list[str]]:
        """Say what the last sample tells.

        Returns:
            Sentences on what is well, and warnings.
        """
        if not self.samples:
            return [], []
        last = self.samples[-1]
        good: list[str] = []
        bad: list[str] = []
        trained = self.trained(last)
        if trained is not None:
            (good if trained else bad).append(self._training(last, trained))
        (good if last.differ else bad).append(_difference(last))
        if last.tau is not None:
            agree = last.tau >= AGREEMENT
            text = (
                f"the logits and the shared weights rank {last.paths} paths with a "
                f"Kendall's tau of {last.tau:.2f}"
            )
            if agree:
                good.append(text)
            else:
                bad.append(
                    f"{text}: they do not agree, so that one of them is wrong ({_HELP})"
                )
        return good, bad

    @property
    def untrained(self) -> Optional[str]:
        """A sentence if the last sample shows an untrained supernet."""
        if self.samples and self.trained(self.samples[-1]) is False:
            return self._training(self.samples[-1], False)
        return None

    def _training(self, sample: Sample, trained: bool) -> str:
        found = f"its paths have {_result(sample)} on average after epoch"
        text = f"the supernet is {'' if trained else 'not '}trained: {found} "
        text += str(sample.epoch)
        if self.reference is not None:
            alone = self.reference
            text += (
                f", and its largest architecture had {_result(alone)} after "
                f"{alone.epoch} epochs alone"
            )
        if trained:
            return text
        return (
            f"{text}; what it ranks is noise, so search for more epochs, or with "
            f"'sharing: kernel' ({_HELP})"
        )


def _result(sample: Sample) -> str:
    loss = f"a loss of {sample.loss:.2f}"
    return loss if sample.error is None else f"{loss} and {sample.error:.0%} errors"


def _difference(sample: Sample) -> str:
    text = (
        f"the losses of {sample.paths} paths differ by {sample.spread:.3g} (standard "
        f"deviation), and {sample.noise:.2g} of it is noise of the "
        f"{sample.utterances} utterances"
    )
    if sample.differ:
        return text
    return f"{text}: the supernet cannot tell its architectures apart ({_HELP})"


def summarise(
    epoch: int,
    losses: Sequence[Sequence[float]],
    weights: Sequence[float],
    utterances: int,
    errors: Optional[Sequence[float]] = None,
    tau: Optional[float] = None,
) -> Sample:
    """Make a sample of the losses of each path on each batch.

    Spread and noise are those of a two-way table without repetition: what a path's loss
    differs from the sum of its own mean and the batch's is taken for noise.

    Args:
        epoch: The epoch.
        losses: For each path, its loss on each batch.
        weights: Weight of each batch, such as its number of utterances.
        utterances: Number of utterances of all batches.
        errors: Share of wrong tokens of each path.
        tau: Agreement of logits and losses.
    """
    total = math.fsum(weights)
    shares = [w / total for w in weights]
    means = [
        math.fsum(s * x for s, x in zip(shares, row, strict=True)) for row in losses
    ]
    mean = math.fsum(means) / len(means)
    noise = 0.0
    if len(shares) > 1 and len(means) > 1:
        for number, share in enumerate(shares):
            rest = [row[number] - m for row, m in zip(losses, means, strict=True)]
            centre = math.fsum(rest) / len(rest)
            noise += share**2 * math.fsum((x - centre) ** 2 for x in rest)
        # Degrees of freedom of paths and of batches.
        noise *= len(shares) / (len(shares) - 1) / (len(means) - 1)
    spread = math.fsum((m - mean) ** 2 for m in means) / max(1, len(means) - 1)
    return Sample(
        epoch=epoch,
        paths=len(means),
        utterances=utterances,
        loss=mean,
        spread=math.sqrt(spread),
        noise=math.sqrt(noise),
        error=None if errors is None else math.fsum(errors) / len(errors),
        tau=tau,
    )


def write_health(directory: PathLike, health: Health) -> None:
    """Write ``supernet.yaml``.

    Args:
        directory: Output directory of the search.
        health: What it has so far.

    Raises:
        WriteError: If it cannot be written.
    """
    data = asdict(health)
    data["samples"] = list(data["samples"])
    write_text(Path(directory) / FILE, dump_yaml(data))


def read_health(directory: PathLike) -> Health:
    """Read ``supernet.yaml``.

    Returns:
        What it has; nothing if there is none.

    Raises:
        ConfigError: If it is damaged.
    """
    path = Path(directory) / FILE
    if not path.exists():
        return Health()
    data = read_yaml_mapping(path, "file")
    try:
        reference, end = data["reference"], data["warmup_end"]
        return Health(
            tuple(_sample(entry) for entry in data["samples"]),
            None if reference is None else _sample(reference),
            None if end is None else int(end),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} is damaged ({type(error).__name__}: {one_line(error)}); remove "
            "it: nothing is then known of the supernet"
        ) from error


def _sample(entry: Any) -> Sample:
    numbers: dict[str, Any] = {
        key: value if value is None or key in _COUNTS else float(value)
        for key, value in entry.items()
    }
    return Sample(**numbers)


_COUNTS = ("epoch", "paths", "utterances")
