"""An architecture search in a training of espnet3: a callback of Lightning's loop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Optional

import torch
from espnet2.tasks.abs_task import optim_classes
from espnet2.torch_utils.set_all_random_seed import set_all_random_seed
from lightning.pytorch.callbacks import Callback

from espnet_stnas.errors import ConfigError
from espnet_stnas.espnet3.batches import ArchitectureBatches
from espnet_stnas.espnet3.options import SearchOptions, plain
from espnet_stnas.estimators import build_estimator
from espnet_stnas.files import dump_yaml, read_yaml_mapping, write_text
from espnet_stnas.messages import quote
from espnet_stnas.results.certainty import entropy
from espnet_stnas.results.curves import start_epoch
from espnet_stnas.results.experiment import ARCHITECTURES
from espnet_stnas.search.checks import building
from espnet_stnas.search.cost import add_cost, cost_report, cost_term
from espnet_stnas.search.iterators import Batch
from espnet_stnas.search.reports import found_architecture, write_found
from espnet_stnas.search.start import clear_epochs
from espnet_stnas.supernet.steps import LogitLearner, Source, StepLosses
from espnet_stnas.supernet.supernet import find_supernet, path_generator
from espnet_stnas.supernet.undo import Kept


class Search(Callback):
    """Trains weights and architecture logits alternately.

    Lightning and espnet3 make the weight steps, as in every training. Before each, this
    callback makes an architecture step and sets the path of the weight step. After each
    epoch, it writes ``architectures/<epoch>epoch.yaml`` to ``exp_dir``.

    Add it to ``trainer.callbacks`` of an espnet3 training whose encoder is a search
    space.

    Args:
        options: The options of :class:`SearchOptions`.

    Raises:
        TypeError: If there is no such option.
    """

    def __init__(self, **options: Any) -> None:
        self.options = SearchOptions(**{k: plain(v) for k, v in options.items()})
        self._saved: Mapping[str, Any] = {}
        self._optimizer: Any = None
        self._path = ExitStack()

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Complete config.yaml, check everything, and divide the data.

        Args:
            trainer: Lightning's trainer.
            pl_module: The module of espnet3.
            stage: ``fit`` for a training.

        Raises:
            ConfigError: If the search cannot work with this training.
        """
        if stage != "fit":
            return
        options = self.options
        self.output_dir = Path(pl_module.config.exp_dir)
        path = self.output_dir / "config.yaml"
        if path.exists():  # espnet3 has just written it, if `task` is set
            known = read_yaml_mapping(path, "experiment config")
            own = {**asdict(options), "max_epoch": trainer.max_epochs}
            write_text(path, dump_yaml({**known, **own}))
        options.check(trainer, pl_module)
        self.supernet = find_supernet(pl_module.model)
        self.cost = cost_term(self.supernet, options.cost_conf)
        self.seed = int(pl_module.config.get("seed") or 0)
        self.batches = ArchitectureBatches(
            pl_module, options.arch_data, options.arch_fraction, self.seed
        )
        # espnet3 gives all parameters that learn to its optimizer.
        self._let_learn(False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state of a checkpoint; the optimizer is not there yet.

        Args:
            state_dict: From :meth:`state_dict`.

        Raises:
            ConfigError: If the search began with other options.
        """
        known = state_dict["options"]
        for key, value in self._identity().items():
            if known[key] != value:
                raise ConfigError(
                    f"{key} is {quote(value)}, and was {quote(known[key])} in the "
                    "search of the checkpoint; set it as it was, or start anew with "
                    "another exp_dir"
                )
        self._saved = state_dict

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed search needs beside the model and its epoch."""
        if self._optimizer is None:
            return {}
        state = self._optimizer.state_dict()
        return {"options": self._identity(), "optimizer": state}

    def _identity(self) -> dict[str, Any]:
        return {**asdict(self.options), "seed": self.seed}

    def _let_learn(self, learn: bool) -> None:
        for logits in self.supernet.logits:
            logits.requires_grad_(learn)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Build the optimizer of the logits, when that of the weights is there.

        Args:
            trainer: Lightning's trainer.
            pl_module: The module of espnet3.

        Raises:
            ConfigError: If it cannot be built.
        """
        options = self.options
        self._let_learn(True)
        with building(f"optim2 '{options.optim2}' with its optim2_conf"):
            self._optimizer = optim_classes[options.optim2](
                self.supernet.logits, **options.optim2_conf
            )
        if self._saved:
            self._optimizer.load_state_dict(self._saved["optimizer"])

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Remove what a stopped run left of later epochs.

        Args:
            trainer: Lightning's trainer.
            pl_module: The module of espnet3.

        Raises:
            ConfigError: If the checkpoint is from the middle of an epoch, Lightning
                does not know how long an epoch is, or a search would begin in the
                directory of another one.
        """
        if trainer.num_training_batches == math.inf:
            # Lightning then reads ahead, at other times in the first epoch of a run.
            raise ConfigError(
                "dataloader: train has an iter_factory that does not know its number "
                "of batches; a search accepts others, such as "
                "espnet2.iterators.sequence_iter_factory.SequenceIterFactory"
            )
        if trainer.fit_loop.restarted_mid_epoch:
            raise ConfigError(
                f"{trainer.ckpt_path} was saved in the middle of an epoch, whose "
                "batches Lightning does not repeat; accepted is a checkpoint from the "
                "end of one, such as last.ckpt"
            )
        last = trainer.max_epochs
        if last is not None and 0 <= last <= self.options.warmup_epochs:
            logging.warning(
                f"warmup_epochs is {self.options.warmup_epochs} and max_epochs {last}: "
                "all epochs are warm-up, no architecture will be searched"
            )
        done, folder = trainer.current_epoch, self.output_dir
        if not done and any((folder / ARCHITECTURES).glob("*epoch.yaml")):
            raise ConfigError(
                f"{folder} holds a search; accepted is another exp_dir, or fit: "
                f"{{ckpt_path: {folder / 'last.ckpt'}}} to go on with it"
            )
        clear_epochs(folder, done)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin an epoch from its number alone, so that a resumed one is the same."""
        options = self.options
        self.epoch = trainer.current_epoch + 1
        self.started = time.perf_counter()
        self._valid_loss: Optional[float] = None
        start_epoch(self.output_dir, self.epoch)
        self.searching = self.epoch > options.warmup_epochs
        if self.searching:
            self.estimator = options.build_estimator()
            self.estimator.start_epoch(self.epoch - options.warmup_epochs)
        else:
            self.estimator = build_estimator("uniform")
        by_norm = trainer.gradient_clip_algorithm in (None, "norm")
        self.learner = LogitLearner(
            pl_module.model,
            self.estimator,
            self._optimizer,
            (trainer.gradient_clip_val if by_norm else None) or math.inf,
        )
        offsets = {id(t) for t in self.supernet.score_offsets}  # the learner's
        buffers = pl_module.model.buffers()
        self._statistics = Kept(t for t in buffers if id(t) not in offsets)
        self._others: Optional[Iterator[Batch]] = None
        if self.estimator.learns and self.searching:
            self._others = self.batches.of_epoch(self.epoch)
        set_all_random_seed(self.seed + self.epoch)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Make an architecture step, and set the path of the weight step.

        See Lightning's Callback for the arguments.
        """
        step = batch_idx + 1
        if self._others is not None:
            self._architecture_step(trainer, pl_module, step, next(self._others), batch)
        self._statistics.save()
        gates = self.supernet.weight_gates(
            self.estimator, self._source(step, "weights")()
        )
        self._path.enter_context(self.supernet.routed(gates))

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """End the weight step; one that espnet3 has skipped leaves nothing behind.

        See Lightning's Callback for the arguments.
        """
        self._path.close()
        if (outputs or {}).get("loss") is None:
            self._statistics.restore()

    def on_exception(
        self, trainer: Any, pl_module: Any, exception: BaseException
    ) -> None:
        """Leave the path of an interrupted step; see Lightning's Callback."""
        self._path.close()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the loss of the most probable architecture."""
        loss = trainer.callback_metrics.get("valid/loss")
        self._valid_loss = None if loss is None else float(loss)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the architecture of the epoch, before Lightning's checkpoint."""
        pi = [p.tolist() for p in self.supernet.probabilities()]
        report = {"entropy": sum(map(entropy, pi)) / len(pi)}
        report.update(cost_report(self.supernet, self.cost))
        pl_module.log_dict({f"train/{key}": value for key, value in report.items()})
        found = found_architecture(
            self.supernet,
            self.cost,
            epoch=self.epoch,
            seed=self.seed,
            searching=self.searching,
        )
        write_found(
            self.output_dir,
            found,
            self.supernet,
            self.cost,
            valid_loss=self._valid_loss,
            seconds=time.perf_counter() - self.started,
        )
        logging.info(
            f"Epoch {self.epoch}: entropy {report['entropy']:.3f}, most probable "
            f"{', '.join(str(layer.candidates[0]) for layer in found.space.layers)}"
        )

    def _architecture_step(
        self, trainer: Any, module: Any, step: int, batch: Batch, weight_batch: Batch
    ) -> None:
        def loss_on(data: Batch) -> torch.Tensor:
            with trainer.precision_plugin.forward_context():
                return module.model(**data[1])[0]

        count = trainer.accumulate_grad_batches
        losses = StepLosses(
            self.learner,
            self._source(step, "architecture"),
            partial(loss_on, trainer.strategy.batch_to_device(batch)),
            partial(loss_on, weight_batch),
            float(trainer.optimizers[0].param_groups[0]["lr"]),
        )
        self.learner.learn(losses, share=1.0 / count)
        assert losses.value is not None
        report = {"arch_loss": float(losses.value)}
        if step % count == 0:
            if self.cost is not None:
                report.update(add_cost(self.learner, self.cost))
            report.update(self.learner.update())
        module.log_dict({f"train/{key}": value for key, value in report.items()})

    def _source(self, step: int, role: str) -> Source:
        return partial(path_generator, self.seed, self.epoch, step, role)
