"""One architecture step: the logits learn, the weights are frozen."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch
from espnet2.torch_utils.device_funcs import to_device
from espnet2.train.reporter import SubReporter
from espnet2.train.trainer import TrainerOptions, autocast_args

from espnet_stnas.estimators import Gate
from espnet_stnas.ops.norm import frozen_statistics
from espnet_stnas.search.iterators import Batch
from espnet_stnas.search.logit_update import LogitUpdate
from espnet_stnas.search.ranks import mean_over_ranks, weighted_loss
from espnet_stnas.supernet.supernet import Gates, Supernet, frozen_weights

# Gradients of some parameters on one batch, with loss and weight of the batch.
Result = tuple[list[torch.Tensor], torch.Tensor, Optional[torch.Tensor]]


class ArchitectureStep:
    """Computes architecture gradients and lets the logits follow them.

    Gradients come from ``torch.autograd.grad`` with respect to the logits alone: no
    weight gets a gradient, so nothing of this step can leak into a weight step.

    Args:
        model: The ESPnet model, not wrapped for parallel training.
        update: Updates the logits, knows the supernet and the estimator.
        weight_optimizer: Whose learning rate an unrolled step takes.
        scaler: Loss scaler of mixed precision, or None.
        options: Options of the trainer.
        distributed: Whether gradients are to be averaged over processes.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        update: LogitUpdate,
        *,
        weight_optimizer: torch.optim.Optimizer,
        scaler: Any,
        options: TrainerOptions,
        distributed: bool,
    ) -> None:
        self.model = model
        self.update = update
        self.weight_optimizer = weight_optimizer
        self.scaler = scaler
        self.options = options
        self.distributed = distributed

    def __call__(
        self,
        batch: Batch,
        weight_batch: Batch,
        generator: Callable[[], torch.Generator],
        reporter: SubReporter,
        *,
        update: bool,
    ) -> None:
        """Accumulate the gradients of one batch, and step if told so.

        Args:
            batch: Utterance ids and the data of the model.
            weight_batch: The batch of the weight step that comes next.
            generator: Makes the source of the draws of this step, always the same.
            reporter: Gets loss, gradient norm, learning rate and time.
            update: Step the optimizer after this batch (else only accumulate).
        """
        start = time.perf_counter()
        losses = StepLosses(self, batch, weight_batch, generator)
        gradients = self.update.estimator.gradients(losses)
        share = 1.0 / self.options.accum_grad
        self.update.accumulate([g * share for g in gradients], losses.gates, batch[0])
        assert losses.loss is not None
        reporter.register({"arch_loss": losses.loss.detach()}, losses.weight)
        if update:
            reporter.register(self.update())
        reporter.register({"arch_time": time.perf_counter() - start})

    def gradients(
        self, batch: Batch, gates: Gates, wrt: Sequence[torch.nn.Parameter]
    ) -> Result:
        """Gradients of the loss on a batch, averaged over processes.

        Args:
            batch: Utterance ids and the data of the model.
            gates: Gates of the choices, with coefficients.
            wrt: With respect to which parameters (any shape).
        """
        utterances, data = batch
        data = to_device(
            {**data, "utt_id": utterances}, "cuda" if self.options.ngpu > 0 else "cpu"
        )
        supernet = self.update.supernet
        with supernet.routed(gates), frozen_statistics(self.model):
            with (
                frozen_weights(self.model, wrt),
                torch.autocast(
                    "cuda", enabled=self.scaler is not None, **autocast_args
                ),
            ):
                result = self.model(**data)
                loss, weight = _loss_and_weight(result)
            if self.distributed:
                share = loss.new_ones(()) if weight is None else weight.sum()
                loss, weight = weighted_loss(loss, share.to(loss.dtype))
            scale = 1.0 if self.scaler is None else float(self.scaler.get_scale())
            # Not every loss reaches all parameters.
            gradients = torch.autograd.grad(loss * scale, list(wrt), allow_unused=True)
        filled = [
            torch.zeros_like(p) if g is None else g / scale
            for p, g in zip(wrt, gradients, strict=True)
        ]
        if not self.distributed:
            return filled, loss, weight
        offsets = supernet.score_offsets
        means = mean_over_ranks([*filled, loss, *offsets])
        for offset, mean in zip(offsets, means[len(filled) + 1 :], strict=True):
            offset.copy_(mean)
        return means[: len(filled)], means[len(filled)], weight


class StepLosses:
    """What an estimator sees of one architecture step; see ``estimators.base.Losses``.

    Args:
        step: Computes gradients.
        batch: The batch of the architecture step.
        weight_batch: That of the weight step.
        generator: Makes the source of the draws, always the same.
    """

    def __init__(
        self,
        step: ArchitectureStep,
        batch: Batch,
        weight_batch: Batch,
        generator: Callable[[], torch.Generator],
    ) -> None:
        supernet: Supernet = step.update.supernet
        logits = {id(p) for p in supernet.logits}
        self.logits = supernet.logits
        self.weights = [
            p
            for p in step.model.parameters()
            if p.requires_grad and id(p) not in logits
        ]
        self.learning_rate = float(step.weight_optimizer.param_groups[0]["lr"])
        self.gates: Sequence[Gate] = ()
        self.loss: Optional[torch.Tensor] = None
        self.weight: Optional[torch.Tensor] = None
        self._step = step
        self._batch = batch
        self._weight_batch = weight_batch
        self._generator = generator

    def architecture_gradients(
        self, wrt: Sequence[torch.nn.Parameter]
    ) -> list[torch.Tensor]:
        """Gradients on the batch of the architecture step; see :class:`Losses`."""
        self.gates = self._gates()
        gradients, self.loss, self.weight = self._step.gradients(
            self._batch, tuple(self.gates), wrt
        )
        return gradients

    def weight_gradients(self, wrt: Sequence[torch.nn.Parameter]) -> list[torch.Tensor]:
        """Gradients on the batch of the next weight step; see :class:`Losses`."""
        return self._step.gradients(self._weight_batch, self._gates(), wrt)[0]

    def _gates(self) -> Gates:
        # A graph can be used once: every gradient gets gates of its own, drawn alike.
        update = self._step.update
        return update.supernet.architecture_gates(update.estimator, self._generator())


def _loss_and_weight(
    result: Any,
) -> tuple[torch.Tensor, Optional[torch.Tensor]]:
    """The scalar loss and its weight from either form of ESPnet's model output."""
    if isinstance(result, dict):
        loss, weight = result["loss"], result["weight"]
    else:
        loss, _, weight = result
    return loss.sum(), weight
