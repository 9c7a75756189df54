"""Loss and errors of paths of a supernet that is part of a model of ESPnet.

The model itself computes the loss: all of it runs for each path, with two exceptions.
What lies in front of the encoder (features, normalization) runs once for a batch, and
layers that several paths have in common run once for all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Optional

import torch

from espnet_stnas.network.network import Frames
from espnet_stnas.selection.evaluation import Tally
from espnet_stnas.supernet.calibration import PathStatistics, batch_norms
from espnet_stnas.supernet.paths import calibrate, evaluation_mode, on_paths
from espnet_stnas.supernet.supernet import find_supernet

Batch = Mapping[str, Any]


@dataclass(frozen=True)
class Prepared:
    """A batch with the parts of the model's work that all paths share.

    Args:
        batch: What the model's ``forward`` takes.
        features: Input of the supernet: frames (B, T, D) and lengths (B,).
        outputs: Outputs of the modules in front of the encoder, by name.
    """

    batch: Batch
    features: Frames
    outputs: Mapping[str, Any]


class PathScorer:
    """Scores paths of the supernet in a model.

    Args:
        model: A model of ESPnet with a supernet; it no longer reports error rates.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.supernet = find_supernet(model)
        self.normed = bool(batch_norms(self.supernet))
        for name in vars(model):
            # BLEU, or means over batches, some of them by beam search: not needed here.
            if "error_calculator" in name:
                setattr(model, name, None)
        self.ctc: Any = getattr(model, "ctc", None)
        if self.ctc is not None:
            # ESPnet applies this dropout in evaluation, too.
            self.ctc.dropout_rate = 0.0

    def prepare(self, batch: Batch) -> Prepared:
        """Run the model up to its supernet.

        Args:
            batch: What the model's ``forward`` takes, on its device.
        """
        outputs: dict[str, list[Any]] = {}
        with ExitStack() as stack:
            for name, child in self.model.named_children():
                found = outputs.setdefault(name, [])
                hook = child.register_forward_hook(
                    lambda _, __, output, found=found: found.append(output)
                )
                stack.callback(hook.remove)
            hook = self.supernet.register_forward_pre_hook(_reached)
            stack.callback(hook.remove)
            stack.enter_context(evaluation_mode(self.model))
            try:
                self.model(**batch)
            except _Reached as reached:
                features = reached.features
        # What ran more than once has no single output.
        once = {name: found[0] for name, found in outputs.items() if len(found) == 1}
        return Prepared(batch, features, once)

    def calibrated(
        self, paths: Sequence[Sequence[int]], batches: Sequence[Prepared]
    ) -> Optional[PathStatistics]:
        """Return the statistics of batch norms for paths; None if there are none.

        Args:
            paths: One candidate index per choice, for each path.
            batches: Training batches.
        """
        return calibrate(self.supernet, paths, [b.features for b in batches])

    def score(
        self,
        paths: Sequence[Sequence[int]],
        prepared: Prepared,
        statistics: Optional[PathStatistics] = None,
    ) -> list[Tally]:
        """Return loss and errors of each path on a batch.

        Args:
            paths: One candidate index per choice, for each path.
            prepared: The batch.
            statistics: Statistics of batch norms for these paths.
        """

        def use(ys: torch.Tensor, olens: torch.Tensor) -> Tally:
            with answering(self.supernet, (ys, olens)):
                return self.tally(prepared.batch)

        with ExitStack() as stack:
            for name, output in prepared.outputs.items():
                child = self.model.get_submodule(name)
                stack.enter_context(answering(child, output))
            stack.enter_context(evaluation_mode(self.model))
            return on_paths(self.supernet, paths, *prepared.features, use, statistics)

    def tally(self, batch: Batch) -> Tally:
        """Return loss and errors of the present path, by a forward of the model.

        Args:
            batch: What the model's ``forward`` takes, on its device.
        """
        calls: list[Any] = []
        with ExitStack() as stack:
            if self.ctc is not None:
                hook = self.ctc.register_forward_pre_hook(
                    lambda _, inputs: calls.append(inputs)
                )
                stack.callback(hook.remove)
            result = self.model(**batch)
        if isinstance(result, dict):
            result = result["loss"], result["stats"], result["weight"]
        loss, stats, weight = result
        utterances = float(weight)
        accuracy = stats.get("acc")
        errors, tokens = self._errors(*calls[0]) if calls else (0, 0)
        return Tally(
            loss=float(loss) * utterances,
            utterances=utterances,
            errors=errors,
            tokens=tokens,
            accuracy=None if accuracy is None else float(accuracy) * utterances,
            has_errors=bool(calls),
        )

    def _errors(
        self,
        hs_pad: torch.Tensor,
        hlens: torch.Tensor,
        ys_pad: torch.Tensor,
        ys_lens: torch.Tensor,
    ) -> tuple[int, int]:
        """Count the errors of greedy decoding, and the tokens of the references."""
        import editdistance

        blank = getattr(self.model, "blank_id", 0)
        best = self.ctc.argmax(hs_pad).tolist()
        errors = tokens = 0
        for frames, length, labels, count in zip(
            best, hlens.tolist(), ys_pad.tolist(), ys_lens.tolist(), strict=True
        ):
            found = [k for k, _ in itertools.groupby(frames[:length]) if k != blank]
            errors += editdistance.eval(found, labels[:count])
            tokens += count
        return errors, tokens


@contextmanager
def answering(module: torch.nn.Module, output: Any) -> Iterator[None]:
    """Let a module return an output that is known, whatever its input.

    Args:
        module: The module.
        output: The output.
    """

    def forward(*_: Any, **__: Any) -> Any:
        return output

    replaced: Callable[..., Any] = forward
    module.__dict__["forward"] = replaced
    try:
        yield
    finally:
        del module.__dict__["forward"]


class _Reached(Exception):  # noqa: N818
    """Ends a forward at the supernet."""

    def __init__(self, features: Frames) -> None:
        super().__init__()
        self.features = features


def _reached(_: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
    raise _Reached((inputs[0], inputs[1]))
