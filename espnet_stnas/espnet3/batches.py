"""Batches for architecture steps, made by espnet3 from the data of a training."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.train.collate_fn import CommonCollateFn
from espnet3.components.data.dataloader import DataLoaderBuilder
from omegaconf import OmegaConf

from espnet_stnas.search.iterators import Batch, SearchBatches
from espnet_stnas.search.split import write_split

_FACTORY = "dataloader.{}.iter_factory"
_SHAPES = f"{_FACTORY}.batches.shape_files"


class ArchitectureBatches(AbsIterFactory):
    """Batches like those of the training, of other utterances, in another order.

    Args:
        module: The module of espnet3.
        data: ``train``: utterances of the training set are set aside, and the module
            loses them. ``valid``: those of the validation set.
        fraction: Share of the training set to set aside.
        seed: Seed of the draw of these.

    Raises:
        ConfigError: If a shape file is missing or damaged, or a part would be empty.
    """

    def __init__(self, module: Any, data: str, fraction: float, seed: int) -> None:
        self._module = module
        self._dataset = getattr(module, f"{data}_dataset")
        shapes = list(OmegaConf.select(module.config, _SHAPES.format(data)))
        config = copy.deepcopy(module.config)
        if data == "train":
            folder = Path(module.config.exp_dir)
            parts = write_split(shapes, folder, fraction=fraction, seed=seed)
            # espnet3 has not read them yet.
            _set(module.config, _SHAPES, parts["weights"])
            shapes = parts["architecture"]
        _set(config, _SHAPES, shapes)
        # Each pass takes all batches, whatever the length of an epoch is.
        _set(config, f"{_FACTORY}.num_iters_per_epoch", None)
        self._config = config

    def of_epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield batches without end, each pass in a new order.

        Args:
            epoch: The epoch, from 1.
        """
        return SearchBatches((), self, epoch).architecture_batches()

    def build_iter(self, epoch: int, shuffle: Optional[bool] = None) -> Any:
        """Build one pass. espnet3 shuffles it as its training batches.

        Args:
            epoch: Number that determines the order, from 1.
            shuffle: Not used.
        """
        module = self._module
        common = isinstance(module.collate_fn, CommonCollateFn)
        self._dataset.use_espnet_collator = common  # as espnet3 does
        builder = DataLoaderBuilder(
            dataset=self._dataset,
            config=self._config,
            collate_fn=module.collate_fn,
            num_device=1,
            epoch=epoch - 1,  # Lightning counts from 0
        )
        return builder.build(mode="train")


def _set(config: Any, key: str, value: Any) -> None:
    OmegaConf.update(config, key.format("train"), value, force_add=True)
