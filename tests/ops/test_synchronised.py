"""Batch norm over ranks, in a group of one; of several in tests/search."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from espnet_stnas.ops.norm import MaskedBatchNorm, synchronised_statistics


@pytest.fixture
def group(tmp_path) -> Iterator[None]:
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", store, world_size=1, rank=0)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float16, 3e-3)]
)
def test_alone_it_is_the_plain_one(group, dtype, tolerance):
    """More frames than float16 counts, and large values."""
    frames = 70_000 if dtype == torch.float16 else 50
    xs = (100 + 20 * torch.randn(2, frames // 2, 3, dtype=torch.float64)).to(dtype)
    lengths = torch.tensor([frames // 2, frames // 2 - 7])
    norms = [MaskedBatchNorm(3).double() for _ in range(2)]
    inputs = [
        x.double().requires_grad_() if i == 0 else x.requires_grad_()
        for i, x in enumerate((xs.clone(), xs.clone()))
    ]
    if dtype == torch.float16:
        norms[1].float()
    plain = norms[0](inputs[0], lengths)
    with synchronised_statistics(norms[1]):
        found = norms[1](inputs[1], lengths)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), plain, rtol=tolerance, atol=tolerance)
    weights = torch.randn_like(plain)
    (plain * weights).sum().backward()
    (found.double() * weights).sum().backward()
    torch.testing.assert_close(
        inputs[1].grad.double(), inputs[0].grad, rtol=tolerance, atol=tolerance
    )
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(
            getattr(norms[1], name).double(),
            getattr(norms[0], name),
            rtol=tolerance,
            atol=tolerance,
        )
    assert norms[1].num_batches_tracked == 1


def test_one_frame_is_normalised_by_running_statistics(group):
    norm = MaskedBatchNorm(3)
    with synchronised_statistics(norm):
        ys = norm(torch.ones(1, 1, 3), torch.tensor([1]))
    torch.testing.assert_close(ys, torch.ones(1, 1, 3), rtol=1e-4, atol=1e-4)
    assert norm.num_batches_tracked == 0
