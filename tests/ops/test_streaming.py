"""Every operation chunk by chunk, against the whole utterance."""

from __future__ import annotations

import pytest
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.families import FAMILIES
from espnet_stnas.notation.family import OpFamily
from espnet_stnas.notation.spec import OpSpec, parse_op
from espnet_stnas.ops import Operation, build_operation
from tests.ops.examples import SIZE, all_examples

FRAMES = 67
# Chunks of frames; the last one may be empty.
CHUNKS = {
    "single frames": [1] * FRAMES,
    "sixteen": [16, 16, 16, 16, 3],
    "uneven": [0, 2, 31, 0, 5, 1, 28, 0],
    "at once": [FRAMES],
}
# They see the whole utterance.
UNLIMITED = {"blstm", "bgru", "transformer", "conformer", "ebranchformer"}
UNLIMITED |= {"multiconvformer"}

every_operation = pytest.mark.parametrize("text", all_examples())


def build(text: str) -> Operation:
    operation = build_operation(parse_op(text, "here"), SIZE, SIZE, 0.1).double()
    with torch.no_grad():  # no bias is zero, no scale is one
        for parameter in operation.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        for name, buffer in operation.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(torch.rand_like(buffer))
    return operation.eval()


def is_limited(text: str) -> bool:
    spec = parse_op(text, "here")
    return spec.op not in UNLIMITED or spec.options.get("chunk") is not None


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
@every_operation
@torch.no_grad()
def test_chunks_equal_the_whole(text, chunks):
    operation = build(text)
    if not is_limited(text):
        message = f"'{operation.spec}' cannot run chunk by chunk"
        with pytest.raises(ConfigError, match=message):
            operation.streaming()
        return
    xs = torch.randn(2, FRAMES, SIZE, dtype=torch.double)
    whole, _ = operation(xs, torch.tensor([FRAMES, FRAMES]))
    form = operation.streaming()
    state, found = form.start(xs), []
    for number, part in enumerate(xs.split(chunks, dim=1), start=1):
        before = {name: value.clone() for name, value in state.items()}
        ys, after = form.step(part, state, final=number == len(chunks))
        assert all(torch.equal(state[name], before[name]) for name in before)
        assert all(value.size(0) == 2 for value in after.values())
        assert set(after) == set(before)
        found.append(ys)
        state = after
    torch.testing.assert_close(torch.cat(found, dim=1), whole, rtol=0, atol=1e-10)


@every_operation
@torch.no_grad()
def test_frames_come_as_soon_as_their_view_says(text):
    if not is_limited(text):
        return
    operation = build(text)
    form, spec = operation.streaming(), operation.spec
    state, count = form.start(torch.zeros(1, dtype=torch.double)), 0
    for frame in range(40):
        ys, state = form.step(torch.randn(1, 1, SIZE, dtype=torch.double), state, False)
        count += ys.size(1)
        last = spec.view.last
        ends = [
            (n * spec.stride + last.shift) // last.chunk * last.chunk + last.end
            for n in range(41)
        ]
        assert count == sum(end <= frame for end in ends)
        # The state is no longer than what is needed.
        longest = sum(spec.reach) + last.chunk + spec.stride
        assert all(v.size(1) <= longest for k, v in state.items() if k == "frames")


def test_operations_that_do_not_say_so_are_refused(monkeypatch):
    family = OpFamily("later", f"{__name__}:Later", reach=lambda o: (0, 1))
    monkeypatch.setitem(FAMILIES, "later", family)
    with pytest.raises(ConfigError, match="'later' cannot run chunk by chunk, since"):
        build_operation(OpSpec("later"), SIZE, SIZE, 0.0).streaming()


class Later(Operation):
    """Looks one frame ahead."""

    def forward(self, xs_pad, ilens):
        return torch.nn.functional.pad(xs_pad[:, 1:], (0, 0, 0, 1)), ilens
