"""Adds our classes to ESPnet's registries when ESPnet is imported.

Importing an ESPnet task takes seconds, and recipes start dozens of small Python
processes that need none. So the registration is a hook that acts when a task module is
imported, and costs nothing otherwise. With autoload, every Python process of the
environment runs this file when it starts, so it imports nothing that takes time. In
the same way, ESPnet's streaming inference learns of the encoder
(:mod:`espnet_stnas.host.streaming`).
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys

TYPE_CHECKING = False  # instead of typing's, which takes long to import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any, Optional

_TASKS = ("espnet2.tasks.", "espnet3.systems.")
_STREAMING = "espnet2.bin.asr_inference_streaming"
# Registries of speech encoders in task modules; enh_s2t and gan_tok have copies.
_CHOICES = (
    *("encoder_choices", "asr_encoder_choices"),
    *("st_encoder_choices", "diar_encoder_choices"),
)
# These tasks call their encoder without lengths, or with masks or targets.
_OTHER_CALLS = tuple(
    f"espnet2.tasks.{task}" for task in ("beats", "hubert", "lid", "spk", "ssl")
)
_ABS_ENCODER = "espnet2.asr.encoder.abs_encoder"
_ASR_MODEL = "espnet2.asr.espnet_model"
NAME = "stnas"
MODELS = ("ctc_crf", "distilled")
SCHEDULER = "warmuplinearlr"
# Imported together with a task; one model belongs to a room above.
_CLASSES = {
    NAME: "espnet_stnas.host.encoder:STNASEncoder",
    "ctc_crf": "espnet_stnas.ctc_crf.model:ESPnetCTCCRFModel",
    "distilled": "espnet_stnas.host.distilled:ESPnetDistilledModel",
    SCHEDULER: "espnet_stnas.host.schedule:WarmupLinearLR",
}


def register() -> None:
    """Register with all ESPnet tasks, imported already or later; safe to repeat."""
    if not any(isinstance(finder, _TaskFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TaskFinder())
    for name, module in list(sys.modules.items()):
        if name.startswith((*_TASKS, _STREAMING)) and module is not None:
            _add_classes(module)


def _add_classes(task: ModuleType) -> None:
    if task.__name__ == _STREAMING:
        # This imports torch, which ESPnet has imported by then.
        from espnet_stnas.host.streaming import accept_encoder

        accept_encoder(task)
        return
    _add_encoder(task)
    _add_models(task)
    # Of espnet2.tasks.abs_task; other tasks have the same dictionary.
    schedulers = getattr(task, "scheduler_classes", None)
    if schedulers is not None and SCHEDULER not in schedulers:
        schedulers[SCHEDULER] = _imported(SCHEDULER)


def _add_encoder(task: ModuleType) -> None:
    """Add the encoder to a task's registries, if it has any for speech encoders."""
    abs_encoder = getattr(sys.modules.get(_ABS_ENCODER), "AbsEncoder", None)
    if abs_encoder is None or task.__name__ in _OTHER_CALLS:
        return
    for name in _CHOICES:
        choices = getattr(task, name, None)
        if choices is None or choices.base_type is not abs_encoder:
            continue
        if NAME not in choices.classes:
            choices.classes[NAME] = _imported(NAME)


def _add_models(task: ModuleType) -> None:
    """Add the models to a task's registry, if the task is speech recognition."""
    asr_model = getattr(sys.modules.get(_ASR_MODEL), "ESPnetASRModel", None)
    classes = getattr(getattr(task, "model_choices", None), "classes", {})
    if asr_model is not None and classes.get("espnet") is asr_model:
        for name in MODELS:
            if name not in classes:
                classes[name] = _imported(name)


def _imported(name: str) -> Any:
    module, _, class_name = _CLASSES[name].partition(":")
    return getattr(importlib.import_module(module), class_name)


class _TaskFinder:
    """Finds ESPnet's task modules as usual, and wraps their loader."""

    def find_spec(
        self,
        fullname: str,
        path: Optional[Sequence[str]],
        target: Optional[ModuleType] = None,
    ) -> Optional[importlib.machinery.ModuleSpec]:
        if not fullname.startswith((*_TASKS, _STREAMING)):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            # The methods that importlib needs.
            spec.loader = _TaskLoader(spec.loader)  # type: ignore[assignment]
        return spec


class _TaskLoader:
    """Loads a module with another loader, then registers the classes in it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> object:
        # runpy, inspect and linecache ask loaders for code and source.
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _add_classes(module)
