"""Products of a sparse matrix with dense ones, on any device."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import torch

from espnet_stnas.ctc_crf.graph import SparseArray


class SparseMatrix:
    """A sparse matrix (M, N) that multiplies dense ones (N, B).

    Of torch's ways to do so, compressed rows were the fastest by far where tried
    (``benchmarks/ctc_crf.py --products``). Where torch is built without them,
    ``embedding_bag`` does the same.

    Args:
        array: The matrix.
        device: Where to multiply.
        dtype: Of the values.
    """

    def __init__(
        self, array: SparseArray, device: torch.device, dtype: torch.dtype
    ) -> None:
        counts = np.bincount(array.rows, minlength=array.shape[0])
        offsets = np.concatenate([[0], np.cumsum(counts)])
        # Half the memory of int64, and what the libraries below want.
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
            out: Where to write the product, or to add it to (M, B).
            add: Whether to add.

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
    """Whether torch multiplies matrices of compressed rows on a kind of device."""
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
        # torch calls them a beta feature, once per process.
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(offsets, columns, values, shape)
