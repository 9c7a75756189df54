"""One architecture step: the logits learn, the weights are frozen."""

from __future__ import annotations

import logging
import time
from typing import Any, Optional

import torch
from espnet2.schedulers.abs_scheduler import AbsBatchStepScheduler
from espnet2.torch_utils.device_funcs import to_device
from espnet2.train.reporter import SubReporter
from espnet2.train.trainer import TrainerOptions, autocast_args

from espnet_stnas.search.iterators import Batch
from espnet_stnas.ops.norm import frozen_statistics
from espnet_stnas.supernet import Gates, Supernet


class ArchitectureStep:
    """Computes architecture gradients and steps their optimizer.

    Gradients come from ``torch.autograd.grad`` with respect to the logits alone: no
    weight gets a gradient, so nothing of this step can leak into a weight step.

    Args:
        model: The ESPnet model, not wrapped for parallel training.
        supernet: The supernet inside it.
        optimizer: Optimizer of the logits.
        scheduler: Its scheduler, or None.
        scaler: Loss scaler of mixed precision, or None.
        options: Options of the trainer.
        distributed: Whether gradients are to be averaged over processes.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        supernet: Supernet,
        *,
        optimizer: torch.optim.Optimizer,
        scheduler: Any,
        scaler: Any,
        options: TrainerOptions,
        distributed: bool,
    ) -> None:
        self.model = model
        self.supernet = supernet
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scaler = scaler
        self.options = options
        self.distributed = distributed

    def __call__(
        self, batch: Batch, gates: Gates, reporter: SubReporter, *, update: bool
    ) -> None:
        """Accumulate the gradients of one batch, and step if told so.

        Args:
            batch: Utterance ids and the data of the model.
            gates: Gates of the choices, with coefficients.
            reporter: Gets loss, gradient norm, learning rate and time.
            update: Step the optimizer after this batch (else only accumulate).
        """
        start = time.perf_counter()
        loss, weight, gradients = self._gradients(batch, gates)
        for logits, gradient in zip(self.supernet.logits, gradients, strict=True):
            gradient = gradient / self.options.accum_grad
            logits.grad = gradient if logits.grad is None else logits.grad + gradient
        reporter.register({"arch_loss": loss.detach()}, weight)
        if update:
            reporter.register(self._update())
        reporter.register({"arch_time": time.perf_counter() - start})

    def _gradients(
        self, batch: Batch, gates: Gates
    ) -> tuple[torch.Tensor, Optional[torch.Tensor], list[torch.Tensor]]:
        utterances, data = batch
        data = to_device(
            {**data, "utt_id": utterances}, "cuda" if self.options.ngpu > 0 else "cpu"
        )
        with self.supernet.routed(gates), frozen_statistics(self.model):
            with torch.autocast(
                "cuda", enabled=self.scaler is not None, **autocast_args
            ):
                result = self.model(**data)
                loss, weight = _loss_and_weight(result)
            scale = 1.0 if self.scaler is None else float(self.scaler.get_scale())
            # A scheme without architecture gradient leaves the logits unused.
            gradients = torch.autograd.grad(
                loss * scale, self.supernet.logits, allow_unused=True
            )
        filled = [
            torch.zeros_like(p) if g is None else g / scale
            for p, g in zip(self.supernet.logits, gradients, strict=True)
        ]
        if self.distributed:
            loss, weight, filled = _average_over_ranks(loss, weight, filled)
        return loss, weight, filled

    def _update(self) -> dict[str, float]:
        norm = torch.nn.utils.clip_grad_norm_(
            self.supernet.logits,
            max_norm=self.options.grad_clip,
            norm_type=self.options.grad_clip_type,
        )
        if torch.isfinite(norm):
            self.optimizer.step()
            if isinstance(self.scheduler, AbsBatchStepScheduler):
                self.scheduler.step()
        else:
            logging.warning(
                f"The norm of the architecture gradient is {norm}. Skipping this "
                "architecture step."
            )
        self.optimizer.zero_grad()
        return {
            "arch_grad_norm": float(norm),
            "arch_skipped": 0.0 if torch.isfinite(norm) else 1.0,
            "optim1_lr0": self.optimizer.param_groups[0]["lr"],
        }


def _loss_and_weight(
    result: Any,
) -> tuple[torch.Tensor, Optional[torch.Tensor]]:
    """The scalar loss and its weight from either form of ESPnet's model output."""
    if isinstance(result, dict):
        loss, weight = result["loss"], result["weight"]
    else:
        loss, _, weight = result
    return loss.sum(), weight


def _average_over_ranks(
    loss: torch.Tensor, weight: Optional[torch.Tensor], gradients: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Average over processes, weighted by batch as ESPnet weights losses.

    One reduction of a vector; the logits are few.
    """
    share = loss.new_ones(()) if weight is None else weight.to(loss.dtype).sum()
    flat = torch.cat([g.reshape(-1) for g in gradients] + [loss.detach().reshape(1)])
    flat = torch.cat([flat * share, share.reshape(1)])
    torch.distributed.all_reduce(flat)
    flat, total = flat[:-1] / flat[-1], flat[-1]
    parts = torch.split(flat, [g.numel() for g in gradients] + [1])
    return parts[-1].squeeze(0), total, list(parts[:-1])
