"""Trains a supernet whose architectures are used without another training.

Each weight step trains the largest path, the smallest and a random one on the same
features (the sandwich rule of arXiv:1903.05134, as in once-for-all networks,
arXiv:1908.09791). All learn from the transcripts; the smaller ones may learn from the
CTC output of the largest, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Optional

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import Estimator
from espnet_stnas.estimators.base import Gate
from espnet_stnas.host.distillation import CTCOutput, ctc_output, distillation_loss
from espnet_stnas.ops.norm import frozen_statistics
from espnet_stnas.search.state import SearchRun
from espnet_stnas.supernet.calibration import batch_norms
from espnet_stnas.supernet.supernet import Gates, Supernet


def largest_gates(supernet: Supernet) -> Gates:
    """Return the gates of the largest path."""
    return tuple(Gate((k,)) for k in supernet.largest_path())


def check_elastic(model: torch.nn.Module, distill_weight: float) -> None:
    """Check that a model has the output from which smaller paths learn.

    Args:
        model: The model of an elastic search.
        distill_weight: How much they learn from it.

    Raises:
        ConfigError: If it has not, and they shall.
    """
    if distill_weight and getattr(model, "ctc", None) is None:
        raise ConfigError(
            f"distill_weight is {distill_weight:g}, and the model has no CTC output, "
            "from which smaller architectures learn; accepted is 0, or a model with "
            "CTC (for ASR: model_conf: ctc_weight above 0)"
        )


class ElasticLoss:
    """Adds the losses of smaller paths to the loss of the largest.

    It acts in hooks of the model, so that ESPnet's loop, its loss scaling and its
    parallel training see one loss.

    Args:
        run: The search.
    """

    def __init__(self, run: SearchRun) -> None:
        self.supernet = run.supernet
        self.weight = run.options.distill_weight
        self.gates = largest_gates(run.supernet)
        """Those of the largest path."""
        self._norms = _norms_of_path(run.model, run.supernet)
        self._smallest = tuple(Gate((k,)) for k in run.supernet.smallest_path())
        self._others: tuple[Gates, ...] = ()
        self._model: Any = run.model
        self._features: tuple[torch.Tensor, ...] = ()
        self._teacher: Optional[CTCOutput] = None

    def draw(self, uniform: Estimator, generator: torch.Generator) -> None:
        """Draw the random path of the next step.

        Args:
            uniform: Draws it.
            generator: Source of all random draws.
        """
        drawn = self.supernet.weight_gates(uniform, generator)
        self._others = self._smallest, drawn

    @property
    def paths(self) -> Gates:
        """The candidates of each choice that any path of this step runs."""
        every = zip(self.gates, *self._others, strict=True)
        return tuple(
            Gate(tuple(sorted({k for gate in gates for k in gate.active})))
            for gates in every
        )

    @contextmanager
    def added(self) -> Iterator[None]:
        """Add the losses to each loss that the model computes inside the context."""
        model, supernet = self._model, self.supernet
        with ExitStack() as stack:
            hooks = [
                model.register_forward_pre_hook(self._begin),
                supernet.register_forward_pre_hook(self._same_features),
                model.register_forward_hook(self, with_kwargs=True),
            ]
            if self.weight:
                hooks.append(model.ctc.register_forward_pre_hook(self._note_output))
            for hook in hooks:
                stack.callback(hook.remove)
            yield

    def _begin(self, *_: Any) -> None:
        self._features = ()
        self._teacher = CTCOutput(self._model.ctc) if self.weight else None

    def _same_features(
        self, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...]:
        # The front end runs again for each path, and masks other parts (SpecAug).
        self._features = self._features or inputs
        return self._features

    def _note_output(
        self, ctc: torch.nn.Module, inputs: tuple[torch.Tensor, ...]
    ) -> None:
        assert self._teacher is not None
        self._teacher.note(ctc, inputs)  # the first call is the largest path's

    def __call__(
        self,
        model: torch.nn.Module,
        inputs: Sequence[Any],
        named: Mapping[str, Any],
        result: Any,
    ) -> Any:
        """Add the losses, as a forward hook with named inputs.

        Args:
            model: An ESPnet model, not wrapped for parallel training.
            inputs: Its positional inputs.
            named: Its named inputs.
            result: Its output for the largest path, in either form.

        Returns:
            The output with the mean loss of all paths. Values to report are those of
            the largest, and ``loss_smallest`` and ``loss_drawn``.
        """
        loss, stats = _parts(result)
        losses = [loss]
        for name, gates in zip(("smallest", "drawn"), self._others, strict=True):
            # Running statistics that the largest path uses stay its own. Others get
            # theirs when they are extracted.
            with frozen_statistics(self._norms), self.supernet.routed(gates):
                own, soft = self._loss(inputs, named)
            stats[f"loss_{name}"] = own.detach()
            losses.append((1 - self.weight) * own + self.weight * soft)
        total = torch.stack(losses).mean(dim=0)
        if isinstance(result, dict):
            return {**result, "loss": total, "stats": stats}
        return (total, stats, *result[2:])

    def _loss(
        self, inputs: Sequence[Any], named: Mapping[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the model's loss of the present path, and its divergence or 0."""
        if self._teacher is None:
            own, _ = _parts(self._model.forward(*inputs, **named))
            return own, torch.zeros_like(own)
        with ctc_output(self._model.ctc) as output:
            own, _ = _parts(self._model.forward(*inputs, **named))
        with torch.no_grad():
            teacher = self._teacher.log_probabilities()
        student = output.log_probabilities()
        return own, distillation_loss(student, teacher, output.lengths)


def _norms_of_path(model: torch.nn.Module, supernet: Supernet) -> torch.nn.ModuleList:
    """Return the batch norms of a model that its largest path runs."""
    others = {
        id(module)
        for blocks, largest in zip(
            supernet.blocks_of_choices, supernet.largest_path(), strict=True
        )
        for block in blocks
        for k, operation in enumerate(block.operations)
        if k != largest
        for module in operation.modules()
    }
    return torch.nn.ModuleList(m for m in batch_norms(model) if id(m) not in others)


def _parts(result: Any) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return loss and values to report of an output in either form."""
    if isinstance(result, dict):
        return result["loss"], dict(result["stats"])
    return result[0], dict(result[1])
