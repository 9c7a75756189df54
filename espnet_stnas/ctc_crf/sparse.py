"""Products of a sparse matrix with dense ones, on any device."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import torch

from espnet_stnas.ctc_crf.graph import SparseArray


class SparseMatrix:
    """A sparse matrix (M, N) that multiplies dense ones (N, B).

    Compressed rows were by far the fastest of torch's ways to do so
    (``benchmarks/ctc_crf.py --products``). Where torch is built without them,
    ``embedding_bag`` does the same.

    Args:
        array: The matrix.
        device: Where to multiply.
        dtype: Type of the values.
    """

    def __init__(
        self, array: SparseArray, device: torch.device, dtype: torch.dtype
    ) -> None:
        counts = np.bincount(array.rows, minlength=array.shape[0])
        offsets = np.concatenate([[0], np.cumsum(counts)])
        # The libraries below want int32, which takes half the memory.
        self._offsets = torch.tensor(offsets, dtype=torch.int32, device=device)
        self._columns = torch.tensor(array.columns, dtype=torch.int32, device=device)
        self._values = torch.tensor(array.values, dtype=dtype, device=device)
        self._csr = None
        if has_compressed_rows(device.type):
            self._csr = _compressed(
                self._offsets, self._columns, self._values, array.shape
            )

    def multiply(
        self, dense: torch.Tensor, out: torch.Tensor, add: bool = False
    ) -> torch.Tensor:
        """Multiply a dense matrix.

        Args:
            dense: The matrix (N, B).
            out: The product is written here, or added to it (M, B).
            add: Add instead of writing.

        Returns:
            ``out``.
        """
        if self._csr is not None:
            return out.addmm_(self._csr, dense, beta=1.0 if add else 0.0)
        product = torch.nn.functional.embedding_bag(
            self._columns,
            dense,
            self._offsets,
            mode="sum",
            per_sample_weights=self._values,
            include_last_offset=True,
        )
        return out.add_(product) if add else out.copy_(product)


@functools.cache
def has_compressed_rows(device: str) -> bool:
    """Tell whether torch multiplies compressed rows on a kind of device."""
    one = torch.ones(1, dtype=torch.float64, device=device)
    try:
        offsets = torch.tensor([0, 1], dtype=torch.int32, device=device)
        _compressed(offsets, offsets[:1], one, (1, 1)) @ one[:, None]
    except (RuntimeError, NotImplementedError):
        return False
    return True


def _compressed(
    offsets: torch.Tensor,
    columns: torch.Tensor,
    values: torch.Tensor,
    shape: tuple[int, int],
) -> torch.Tensor:
    with warnings.catch_warnings():
        # torch warns once per process that they are a beta feature.
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(offsets, columns, values, shape)
