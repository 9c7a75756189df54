"""The options of a search in espnet3, and what such a search accepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from espnet2.tasks.abs_task import optim_classes
from omegaconf import OmegaConf

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import Estimator, build_estimator
from espnet_stnas.messages import quote
from espnet_stnas.notation.zeros import refuse_zero_candidates
from espnet_stnas.search.checks import building
from espnet_stnas.search.cost import check_cost, check_cost_options, input_size
from espnet_stnas.supernet.supernet import find_supernet

_PRECISIONS = ("32-true", "bf16-mixed")


@dataclass(frozen=True)
class SearchOptions:
    """The options, with the names and defaults that ``stnas search`` gives them.

    Args:
        warmup_epochs: Epochs at the start in which paths are drawn uniformly and only
            the weights learn.
        estimator: How architecture gradients are estimated.
        estimator_conf: Options of the estimator.
        cost_conf: The cost of architectures in the loss of the logits.
        arch_data: Where architecture steps get their batches: ``train``, a part of the
            training set that is set aside, or ``valid``, the validation set.
        arch_fraction: Share of the training set that is set aside.
        optim2: ESPnet's name of the logits' optimizer.
        optim2_conf: Options of that optimizer.
    """

    warmup_epochs: int = 10
    estimator: str = "st"
    estimator_conf: Mapping[str, Any] = field(default_factory=dict)
    cost_conf: Mapping[str, Any] = field(default_factory=dict)
    arch_data: str = "train"
    arch_fraction: float = 0.1
    optim2: str = "adam"
    optim2_conf: Mapping[str, Any] = field(default_factory=lambda: {"lr": 5.0e-3})

    def build_estimator(self) -> Estimator:
        """Build the estimator.

        Raises:
            ConfigError: If it cannot be built.
        """
        return build_estimator(self.estimator, self.estimator_conf)

    def check(self, trainer: Any, module: Any) -> None:
        """Check the options, and the training that is to search.

        Args:
            trainer: Lightning's trainer.
            module: The module of espnet3.

        Raises:
            ConfigError: If the search cannot work.
        """
        _check_training(trainer, module)
        if type(self.warmup_epochs) is not int or self.warmup_epochs < 0:
            _refuse("warmup_epochs", self.warmup_epochs, "an integer from 0")
        if self.arch_data not in ("train", "valid"):
            _refuse("arch_data", self.arch_data, "train or valid")
        if self.optim2 not in optim_classes:
            _refuse("optim2", self.optim2, f"one of {', '.join(optim_classes)}")
        supernet = find_supernet(module.model)
        space = supernet.space
        with building(f"estimator '{self.estimator}' with its estimator_conf"):
            estimator = self.build_estimator()
        estimator.check([len(choice.candidates) for choice in space.choices])
        refuse_zero_candidates(space, input_size(supernet))
        check_cost_options(self.cost_conf, estimator)
        check_cost(supernet, self.cost_conf)


def _refuse(key: str, value: object, accepted: str) -> None:
    raise ConfigError(f"{key} is {quote(value)}; accepted is {accepted}")


def _check_training(trainer: Any, module: Any) -> None:
    try:
        find_supernet(module.model)
    except RuntimeError:
        raise ConfigError(
            "the callback of the search needs a model with choices; accepted is "
            "encoder: stnas with a list of candidate operations in at least one layer"
        ) from None
    if not module.automatic_optimization:
        raise ConfigError(
            "optimizers has several optimizers; a search accepts only optimizer, that "
            "of the weights, and builds that of the logits from optim2"
        )
    if not module.is_espnet_sampler:
        # Its batches depend on the epoch alone, so a resumed search repeats them.
        raise ConfigError(
            "dataloader: train has no iter_factory; a search accepts only ESPnet's "
            "iterator factories, such as "
            "espnet2.iterators.sequence_iter_factory.SequenceIterFactory"
        )
    if trainer.world_size != 1:
        _refuse("num_device", trainer.world_size, "1 for a search in espnet3")
    if trainer.precision not in _PRECISIONS:
        _refuse("trainer: precision", trainer.precision, " or ".join(_PRECISIONS))


def plain(value: Any) -> Any:
    """Return a part of a configuration as plain containers."""
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True)
    return value
