"""What all operations promise: one suite over all that are registered."""

from __future__ import annotations

import copy
import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from espnet_stnas.notation.geometry import chunk_of
from espnet_stnas.notation.spec import parse_op
from espnet_stnas.ops import build_operation
from espnet_stnas.ops.espnet import too_short_error
from espnet_stnas.ops.lengths import padding_mask, zero_padding
from espnet_stnas.ops.norm import MaskedBatchNorm, synchronised_statistics
from espnet_stnas.supernet.scores import expected_output
from tests.conftest import batch
from tests.ops.examples import SIZE, all_examples

OPERATIONS = all_examples()
LENGTHS = (41, 30, 1, 29, 0)
# The normalised output of other operations is dropped out.
WITHOUT_DROPOUT = {"identity", "zero", "deltas", "conv2d", "norm"}
# They depend on the place of a frame, or on where the utterance ends.
NOT_LOCAL = {"positions", "deltas"}
# What they see depends on the frames; the notation has the most.
LEARNT_PLACES = {"deformtdnn"}

every_operation = pytest.mark.parametrize("text", OPERATIONS)


def build(text: str, dropout: float = 0.0, width: int = SIZE):
    operation = build_operation(parse_op(text, "here"), SIZE, width, dropout).double()
    with torch.no_grad():  # no bias is zero, no scale is one
        for parameter in operation.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return operation


def normalises_batches(operation) -> bool:
    """Whether frames of all utterances are normalised together in training."""
    return any(isinstance(m, MaskedBatchNorm) for m in operation.modules())


def padded(lengths=LENGTHS, more: int = 0):
    """Frames as operations get them, and lengths, with more padding than is needed."""
    xs, ilens = batch((*lengths, max(lengths) + more), SIZE)
    return zero_padding(xs[:-1], ilens[:-1]), ilens[:-1]


@every_operation
def test_shapes_and_lengths(text):
    xs, ilens = padded()
    ys, olens = build(text)(xs, ilens)
    spec = parse_op(text, "here")
    assert olens.tolist() == [max(0, spec.output_length(n)) for n in LENGTHS]
    assert ys.shape == (len(LENGTHS), max(olens), spec.output_width(SIZE, SIZE))


@pytest.mark.parametrize("training", [False, True])
@every_operation
def test_padding_does_not_change_valid_frames(text, training):
    """Nor do lengths of 0, other utterances, and the order of the batch."""
    operation = build(text).train(training)
    xs, ilens = padded()
    further = torch.nn.functional.pad(xs, (0, 0, 0, 7))
    order = torch.tensor([3, 4, 0, 2, 1])
    ys, olens = operation(xs, ilens)
    more, _ = operation(further[order], ilens[order])
    assert torch.isfinite(ys).all()
    for i, length in enumerate(olens):
        again = more[order == i, :length]
        torch.testing.assert_close(ys[i : i + 1, :length], again)
        if length > 0 and not (training and normalises_batches(operation)):
            alone, olen = operation(xs[i : i + 1, : ilens[i]], ilens[i : i + 1])
            assert olen == length
            torch.testing.assert_close(ys[i : i + 1, :length], alone)


@every_operation
def test_junk_in_padding_frames_of_the_layer_changes_nothing(text):
    """Inside, padding is not zero any more: biases are large here."""
    operation = build(text).train()
    xs, ilens = padded((33, 17))
    before, olens = operation(xs, ilens)
    longer = torch.nn.functional.pad(xs, (0, 0, 0, 40))
    after, _ = operation(longer, ilens)
    valid = ~padding_mask(olens, before.size(1))
    torch.testing.assert_close(before[valid], after[:, : before.size(1)][valid])


@pytest.mark.parametrize("lengths", [(1,), (1, 1), (2, 0)], ids=str)
@every_operation
def test_short_utterances_train(text, lengths):
    operation = build(text).train()
    xs, ilens = padded(lengths)
    if operation.spec.output_length(xs.size(1)) < 1:
        with pytest.raises(type(too_short_error("", 0)), match="are too few"):
            operation(xs, ilens)
        return
    ys, olens = operation(xs.requires_grad_(), ilens)
    if ys.requires_grad:
        zero_padding(ys, olens).square().sum().backward()
        gradients = [xs.grad, *(p.grad for p in operation.parameters())]
        assert all(torch.isfinite(g).all() for g in gradients)


@every_operation
def test_gradients_reach_all_parameters(text):
    operation = build(text).train()
    xs, ilens = padded()
    ys, olens = operation(xs.requires_grad_(), ilens)
    assert ys.requires_grad == (text.partition("-")[0] != "zero")
    if not ys.requires_grad:
        return
    (zero_padding(ys, olens) * torch.randn_like(ys)).sum().backward()
    assert xs.grad.abs().sum() > 0
    for name, parameter in operation.named_parameters():
        assert torch.isfinite(parameter.grad).all()
        # The bias of keys adds the same to all scores, which the softmax ignores.
        if not name.endswith("linear_k.bias"):
            assert parameter.grad.abs().sum() > 0, name


@every_operation
def test_geometry_is_that_of_the_notation(text):
    """The frames that an output frame depends on, by its gradient."""
    operation, spec = build(text).eval(), parse_op(text, "here")
    xs = torch.randn(1, 61, SIZE, dtype=torch.double, requires_grad=True)
    ys, _ = operation(xs, torch.tensor([61]))
    if not ys.requires_grad:
        return
    middle = ys.size(1) // 2
    chunk = spec.family.chunk(spec.options)
    lefts, rights = [], []
    # In chunks, some frame sees as far as the view says.
    for place in range(middle, middle + chunk):
        (gradient,) = torch.autograd.grad(
            ys[0, place].pow(3).sum(), xs, retain_graph=True
        )
        seen = gradient[0].abs().sum(dim=1).nonzero().flatten().tolist()
        centre = place * spec.stride
        lefts.append(max(0, centre - spec.reach[0]) - seen[0])
        rights.append(min(60, centre + spec.reach[1]) - seen[-1])
    assert max(lefts) <= 0 <= min(rights)
    if spec.op in LEARNT_PLACES:
        return
    # Of branches side by side, the view has the sum of what they look ahead.
    summed = spec.op == "ebranchformer" and chunk > 1
    assert summed or (max(lefts), min(rights)) == (0, 0)
    assert chunk > 1 or (min(lefts), max(rights)) == (0, 0)


@every_operation
def test_frame_local_operations_depend_on_their_reach_only(text):
    operation, spec = build(text).train(), parse_op(text, "here")
    if not operation.frame_local:
        assert (
            spec.stride > 1
            or math.isinf(max(spec.reach))
            or spec.family.chunk is chunk_of
            or normalises_batches(operation)
            or spec.op in NOT_LOCAL
        )
        return
    (left, right), xs = spec.reach, torch.randn(1, 30, SIZE, dtype=torch.double)
    ys, _ = operation(xs, torch.tensor([30]))
    part, _ = operation(xs[:, 7:23], torch.tensor([16]))
    torch.testing.assert_close(ys[:, 7 + left : 23 - right], part[:, left : 16 - right])


@every_operation
def test_expected_output_has_no_dropout_and_draws_nothing(text):
    operation, plain = build(text, dropout=0.5).train(), build(text).train()
    plain.load_state_dict(operation.state_dict())
    xs, ilens = padded()
    kept = copy.deepcopy(operation.state_dict())
    state = torch.get_rng_state()
    torch.testing.assert_close(
        expected_output(operation, xs, ilens), plain(xs, ilens)[0]
    )
    assert torch.equal(state, torch.get_rng_state())
    after = operation.state_dict()
    assert all(torch.equal(kept[k], after[k]) for k in kept)
    operation(xs, ilens)
    drawn = not torch.equal(state, torch.get_rng_state())
    assert drawn == (text.partition("-")[0] not in WITHOUT_DROPOUT)


@every_operation
def test_scores_in_half_precision(text):
    operation = build(text).float().train()
    xs, ilens = padded()
    xs = xs.float()
    with torch.no_grad():
        olens = operation(xs, ilens)[1]
        exact = zero_padding(expected_output(operation, xs, ilens), olens)
        with torch.autocast("cpu", torch.bfloat16):
            half = expected_output(operation, xs.to(torch.bfloat16), ilens)
        again = zero_padding(expected_output(operation, xs, ilens), olens)
    assert torch.isfinite(half).all()
    error = (zero_padding(half.float(), olens) - exact).abs().mean()
    assert error <= 0.1 * exact.abs().mean()
    assert torch.equal(exact, again), "half precision leaves traces"


@every_operation
def test_copies(text):
    """A copy after a step, a pickled one, and one from a state dict are the same."""
    operation = build(text)
    xs, ilens = padded()
    ys, _ = operation(xs.requires_grad_(), ilens)
    if ys.requires_grad:
        ys.sum().backward()
    operation.eval()
    ys, olens = operation(xs, ilens)
    fresh = build(text).eval()
    fresh.load_state_dict(operation.state_dict())
    for other in (
        copy.deepcopy(operation),
        pickle.loads(pickle.dumps(operation)),
        fresh,
    ):
        again, _ = other(xs, ilens)
        assert torch.equal(zero_padding(ys, olens), zero_padding(again, olens))


@every_operation
def test_only_learnt_numbers_are_in_the_state_dict(text):
    operation = build(text)
    learnt = {name for name, _ in operation.named_parameters()}
    others = set(operation.state_dict()) - learnt
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert all(name.endswith(statistics) for name in others)
    with torch.device("meta"):
        spec = parse_op(text, "here")
        sized = build_operation(spec, SIZE, SIZE, 0.0)
    count = sum(p.numel() for p in operation.parameters())
    assert sum(p.numel() for p in sized.parameters()) == count


@pytest.mark.parametrize("text", ["conformer-H2K3", "ebranchformer-H2K3"])
def test_attention_weights_do_not_outlive_the_step(text):
    operation = build(text)
    ys, _ = operation(*padded())
    kept = [m.attn for m in operation.modules() if hasattr(m, "attn")]
    assert kept
    assert all(not isinstance(attn, torch.Tensor) for attn in kept)


def test_conformers_batch_norm_uses_valid_frames_only():
    operation = build("conformer-H2K3").train()
    norms = [m for m in operation.modules() if isinstance(m, MaskedBatchNorm)]
    assert [m for m in operation.modules() if isinstance(m, torch.nn.BatchNorm1d)] == (
        norms
    )
    inputs = []
    norms[0].register_forward_pre_hook(lambda m, args: inputs.append(args[0]))
    norms[0].reset_running_stats()
    operation(*padded())
    valid = ~padding_mask(torch.tensor(LENGTHS), max(LENGTHS))
    frames = inputs[0].transpose(1, 2)[valid]
    torch.testing.assert_close(norms[0].running_mean, 0.1 * frames.mean(0))
    torch.testing.assert_close(norms[0].running_var, 0.9 + 0.1 * frames.var(0))
    with synchronised_statistics(operation):
        assert norms[0].synchronised


@pytest.mark.parametrize("text", ["conformer-H2K3", "ebranchformer-H2K3"])
def test_threads_do_not_mix_their_lengths(text):
    """As torch.nn.DataParallel runs the replicas of one operation."""
    operation = build(text).eval()
    batches = [padded((9, 2 + n)) for n in range(4)]
    expected = [operation(*b)[0] for b in batches]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = pool.map(lambda b: operation(*b)[0].detach(), batches)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other)
