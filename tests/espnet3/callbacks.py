"""What watches or disturbs a search."""

from __future__ import annotations

from typing import Any

import torch
from espnet2.iterators.sequence_iter_factory import SequenceIterFactory
from lightning.pytorch.callbacks import Callback

from espnet_stnas.espnet3.search import Search


class Watched(Search):
    """Notes what each step has changed: (epoch, kind of step, names of tensors)."""

    seen: list[tuple[int, str, set[str]]] = []

    def _note(self, module: Any, kind: str) -> None:
        state = module.model.state_dict()
        changed = {k for k, v in state.items() if not torch.equal(v, self.before[k])}
        self.seen.append((self.epoch, kind, changed))
        self.before = {k: v.clone() for k, v in state.items()}

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        weights, logits = (
            {id(p) for group in optimizer.param_groups for p in group["params"]}
            for optimizer in (trainer.optimizers[0], self._optimizer)
        )
        assert weights | logits == {id(p) for p in pl_module.parameters()}
        assert not weights & logits
        state = pl_module.model.state_dict()
        self.before = {k: v.clone() for k, v in state.items()}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *batch: Any) -> None:
        super().on_train_batch_start(trainer, pl_module, *batch)
        self._note(pl_module, "architecture")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *batch: Any) -> None:
        super().on_train_batch_end(trainer, pl_module, *batch)
        self._note(pl_module, "weights")


class Crash(Callback):
    """Stops the first training that comes so far, as a power cut would."""

    def __init__(self, epoch: int, step: int) -> None:
        self.at = (epoch, step)

    def on_train_batch_end(self, trainer: Any, *others: Any) -> None:
        if (trainer.current_epoch + 1, others[-1] + 1) == self.at:
            raise MemoryError("crash")


class Poison(Callback):
    """Makes all losses of weight steps NaN in an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch + 1 == self.epoch:
            batch[1]["speech"].fill_(float("nan"))


class Unsized(SequenceIterFactory):
    """Makes iterators without a length, as ESPnet's ChunkIterFactory does."""

    def build_iter(self, epoch: int, shuffle: Any = None) -> Any:
        return (batch for batch in super().build_iter(epoch, shuffle))
