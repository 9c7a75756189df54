"""Names the file when ESPnet cannot read an utterance, also in worker processes."""

from __future__ import annotations

from typing import Any

from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.train.dataset import AbsDataset

from espnet_stnas.errors import DataError
from espnet_stnas.messages import quote, reason

# Iterators of chunks, and of chunks by category, take whole utterances from these.
_INNER = ("per_sample_iter_factory", "category_sample_iter_factory")


def name_data_errors(factory: AbsIterFactory) -> None:
    """Let the batches of a factory raise a `DataError` that names utterance and file.

    Args:
        factory: A factory of ESPnet; its data set is replaced.
    """
    whole: Any = factory
    for name in _INNER:
        whole = getattr(whole, name, whole)
    if hasattr(whole, "dataset"):
        whole.dataset = NamedDataset(whole.dataset)


class NamedDataset(AbsDataset):
    """A data set of ESPnet whose errors name the utterance and the file.

    Args:
        dataset: An ``ESPnetDataset``.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def has_name(self, name: str) -> bool:
        """Return whether utterances have data of this name."""
        return bool(self.dataset.has_name(name))

    def names(self) -> tuple[str, ...]:
        """Return the names of the data of an utterance."""
        return tuple(self.dataset.names())

    def __getitem__(self, uid: Any) -> tuple[Any, dict[str, Any]]:
        """Read an utterance.

        Raises:
            DataError: If it cannot be read.
        """
        try:
            found: tuple[Any, dict[str, Any]] = self.dataset[uid]
        except Exception as error:  # whatever readers of files raise
            raise DataError(
                f"utterance {quote(uid)} of {self._unreadable(uid)} cannot be read "
                f"({reason(error)[:300]})"
            ) from error
        return found

    def _unreadable(self, uid: Any) -> str:
        """Return the file whose entry cannot be read, or all if each can."""
        files = {n: path for n, (path, _) in self.dataset.debug_info.items()}
        for name, loader in self.dataset.loader_dict.items():
            try:
                loader[uid]
            except Exception:
                return str(files[name])
        return ", ".join(map(str, files.values()))
