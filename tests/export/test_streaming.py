"""A streaming step gives what the whole utterance gives."""

from __future__ import annotations

import json
from itertools import groupby
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.export.check import ChunkRunner, onnx_runner
from espnet_stnas.export.program import METADATA_FILE, export_program, onnx_bytes
from espnet_stnas.export.step import Part
from espnet_stnas.export.steps import step_of as form_step
from espnet_stnas.export.streaming import StreamingStep
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.ops.streaming import Form
from tests.conftest import ROOT
from tests.export.conftest import make_training
from tests.export.test_example import run
from tests.network.test_stream import NETWORKS
from tests.ops.examples import SIZE as WIDTH
from tests.ops.examples import all_examples
from tests.ops.test_streaming import build, is_limited

SIZE = 24


def encoder_of(layers, residual=False) -> STNASEncoder:
    encoder = STNASEncoder(SIZE, layers=layers, width=SIZE, residual=residual).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder


def step_of(encoder: STNASEncoder, chunk: int) -> StreamingStep:
    return StreamingStep(SimpleNamespace(encoder=encoder), "frames", SIZE, chunk)


def streamed(step: StreamingStep, parts: list[torch.Tensor]) -> torch.Tensor:
    """Frames (1, T, D) of a step in torch, for parts of any lengths."""
    state, found, finished, parts = tuple(step.start.values()), [], False, [*parts]
    while not finished:
        part = parts.pop(0) if parts else torch.zeros(1, 0, SIZE)
        count, final = torch.tensor([part.size(1)]), torch.tensor([not parts])
        # What is behind the valid frames does not count.
        rest = torch.full((1, step.chunk - part.size(1), SIZE), 7.0)
        ys, frames, finished, *state = step(
            torch.cat([part, rest], dim=1), count, final, *state
        )
        found.append(ys[:, : int(frames)])
        assert len(found) < 200
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_chunks_equal_the_whole(name, residual):
    encoder = encoder_of(NETWORKS[name], residual)
    for chunk in (12, 48):
        step = step_of(encoder, chunk)
        for frames in (151, 144, 13):
            xs = torch.randn(1, frames, SIZE)
            whole, _ = encoder.network(xs, torch.tensor([frames]))
            for parts in (xs.split(chunk, 1), xs.split(max(1, chunk - 1), 1)):
                found = streamed(step, list(parts))
                torch.testing.assert_close(found, whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_frames_come_as_soon_as_they_do_in_python(name):
    encoder = encoder_of(NETWORKS[name])
    step, stream, false = step_of(encoder, 24), encoder.stream(), torch.tensor([False])
    state, other = tuple(step.start.values()), stream.start()
    for count in (24, 5, 0, 24, 24, 1, 1, 23, 24, 24, 24):
        xs = torch.randn(1, 24, SIZE)
        _, frames, finished, *state = step(xs, torch.tensor([count]), false, *state)
        ys, other = stream(xs[:, :count], other)
        assert int(frames) == ys.size(1) and not finished


def test_unknown_forms_are_named():
    class Mine(Form):
        """A form that this package does not have."""

        start = step = None

    with pytest.raises(ConfigError, match="a form of its own, Mine, which export does"):
        form_step(Mine(4), 8)


@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_gives_the_same(name):
    pytest.importorskip("onnxruntime", reason="needs extra 'export'")
    pytest.importorskip("onnxscript", reason="needs extra 'export'")
    encoder = encoder_of(NETWORKS[name])
    step = step_of(encoder, 24)
    runner = onnx_runner(onnx_bytes(export_program(step), step, step.metadata()), 1)
    for frames in (151, 24):
        xs = torch.randn(1, frames, SIZE)
        with torch.no_grad():
            whole, _ = encoder.network(xs, torch.tensor([frames]))
        found = torch.as_tensor(runner(xs.numpy()))
        torch.testing.assert_close(found, whole, rtol=0, atol=1e-4)


def test_what_cannot_stream_is_one_sentence():
    with pytest.raises(ConfigError, match="'conformer-H2K31' cannot run chunk by chu"):
        step_of(encoder_of(["conformer-H2"]), 8)
    for chunk in (0, 9):
        message = f"streaming is {chunk}; accepted are multiples of 2, the frames of"
        with pytest.raises(ConfigError, match=message):
            step_of(encoder_of(["tdnn-C1S2"]), chunk)


@pytest.fixture(scope="module")
def training(tmp_path_factory, speech):
    """A training whose features are normalised by those of its data, and its model."""
    folder = tmp_path_factory.mktemp("streaming")
    frames = np.random.default_rng(0).normal(-3, 2, (50, 8))
    sums = {"sum": frames.sum(0), "sum_square": (frames**2).sum(0)}
    np.savez(folder / "stats.npz", count=len(frames), **sums)
    rows = [
        [str(speech / "dev" / "wav.scp"), "speech", "sound"],
        [str(speech / "dev" / "text"), "text", "text"],
    ]
    model = make_training(
        folder / "asr",
        encoder_conf={"layers": ["tdnn-C1R0S2", "conv2d-S2", "lstm"], "width": 16},
        normalize="global_mvn",
        normalize_conf={"stats_file": str(folder / "stats.npz")},
        valid_data_path_and_name_and_type=rows,
    )
    return folder / "asr", model


@pytest.fixture(scope="module")
def step_file(training, tmp_path_factory):
    """The training as an ONNX file, and what is printed."""
    pytest.importorskip("onnxruntime", reason="needs extra 'export'")
    pytest.importorskip("onnxscript", reason="needs extra 'export'")
    path = tmp_path_factory.mktemp("step") / "step.onnx"
    stnas(["export", str(training[0]), "--output", str(path), "--streaming", "16"])
    return path


@torch.no_grad()
def expected_of(model, features: np.ndarray) -> torch.Tensor:
    """What ESPnet computes for features (T, D) of one utterance."""
    xs, lengths = torch.tensor(features)[None], torch.tensor([len(features)])
    encoded, _, _ = model.encoder(*model.normalize(xs, lengths))
    return model.ctc.log_softmax(encoded)[0]


def test_the_example_hears_what_the_model_hears(training, step_file, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    from examples.stream_onnx import stream

    session = onnxruntime.InferenceSession(str(step_file))
    rng, letters = np.random.default_rng(0), ""
    for frames in (160, 0, 77):  # frames that fill chunks, or none, or not all
        features = rng.normal(-3, 2, (frames, 8)).astype(np.float32)
        parts = [torch.tensor(part) for part in stream(session, features)]
        if not frames:
            assert sum(map(len, parts)) == 0
            continue
        expected = expected_of(training[1], features)
        torch.testing.assert_close(torch.cat(parts), expected, rtol=0, atol=1e-4)
        # The first ones come long before the end.
        assert len(parts[0]) + len(parts[1]) > 0
        best = (k for k, _ in groupby(expected.argmax(1).tolist()) if k)
        letters = [training[1].token_list[k] for k in best]
    np.save(tmp_path / "a.npy", features)
    result = run(
        step_file, tmp_path / "a.npy", example=ROOT / "examples/stream_onnx.py"
    )
    assert result.stderr == "" and letters
    assert result.stdout.split() == [f"{tmp_path}/a.npy:", *letters]


def test_what_the_file_says_about_itself(step_file):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(step_file))
    found = session.get_modelmeta().custom_metadata_map
    keys = ("mode", "input", "normalize", "chunk_frames", "subsampling", "state_start")
    assert [found[key] for key in keys] == [
        *("streaming", "features", "global_mvn", "16", "4", "zeros"),
    ]
    assert found["encoder_lookahead_ms"] == "120"  # conv2d-S2: 6 frames of 20 ms
    given, out = session.get_inputs(), session.get_outputs()
    assert [(one.name, one.shape) for one in given[:3]] == [
        ("features", [1, 16, 8]),
        ("features_lengths", [1]),
        ("final", [1]),
    ]
    names = ["log_probs", "log_probs_lengths", "finished"]
    assert [one.name for one in out[:3]] == names and out[0].shape == [1, 4, 6]
    states = json.loads(found["states"])
    for values, side in ((given, "input"), (out, "output")):
        shapes = [(one[side], one["shape"]) for one in states]
        assert [(one.name, one.shape) for one in values[3:]] == shapes


def test_8_bits_and_an_encoder_alone(training, tmp_path, capsys):
    pytest.importorskip("onnxruntime", reason="needs extra 'export'")
    path = tmp_path / "small.onnx"
    words = ["--output", str(path), "--streaming=64", "--encoder_only", "--int8"]
    stnas(["export", str(training[0]), *words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["metadata"]["mode"] == "streaming"
    large, small = found["files"]
    assert large["relative"] < 1e-4 < small["relative"] < 0.1
    assert 0 < large["call_milliseconds"] < large["milliseconds"]
    assert path.stat().st_size == small["bytes"]


def test_a_file_that_differs_is_not_written(training, tmp_path, monkeypatch):
    whole = ChunkRunner.__call__
    monkeypatch.setattr(ChunkRunner, "__call__", lambda *xs: whole(*xs) + 0.002)
    message = "not written, since its outputs differ .* accepted is 0.0001"
    words = ["--output", str(tmp_path / "a.onnx"), "--streaming=16"]
    with pytest.raises(SystemExit, match=message):
        stnas(["export", str(training[0]), *words])
    assert list(tmp_path.iterdir()) == []


def test_a_program_of_torch_hears_the_same(training, tmp_path, capsys):
    path = tmp_path / "step.pt2"
    words = ["--output", str(path), "--streaming=16", "--json"]
    stnas(["export", str(training[0]), *words])
    (found,) = json.loads(capsys.readouterr().out)["files"]
    assert found["relative"] < 1e-4 and found["frames"] > 10
    assert 0 < found["call_milliseconds"] < found["milliseconds"]
    outputs = torch.export.load(path).module()(
        *(torch.zeros(1, 16, 8), torch.tensor([16]), torch.tensor([False])),
        *_states(path),
    )
    assert outputs[0].size(1) == 4


def _states(path):
    extra = {METADATA_FILE: ""}
    torch.export.load(path, extra_files=extra)
    states = json.loads(json.loads(extra[METADATA_FILE])["states"])
    return [torch.zeros(s["shape"], dtype=getattr(torch, s["dtype"])) for s in states]


def test_what_needs_the_whole_utterance_is_refused(trained, tmp_path):
    words = ["--output", str(tmp_path / "a.onnx"), "--streaming=8"]
    with pytest.raises(SystemExit, match="^error: .*normalize is 'utterance_mvn', wh"):
        stnas(["export", str(trained[0]), *words])
    assert list(tmp_path.iterdir()) == []


def test_no_samples_go_in(capsys):
    with pytest.raises(SystemExit, match="2"):
        stnas(["export", "x", "--output=a.onnx", "--streaming=8", "--input=speech"])
    assert "--streaming takes features" in capsys.readouterr().err


@pytest.mark.parametrize("text", filter(is_limited, all_examples()))
@torch.no_grad()
def test_every_operation(text):
    """Also with chunks that are no multiples of strides or of attention's chunks."""
    operation = build(text).float()
    form = operation.streaming()
    for most, counts in ((5, [5, 2, 0] * 9 + [4]), (16, [16] * 4 + [3])):
        step, xs = form_step(form, most), torch.randn(1, sum(counts), WIDTH)
        whole, _ = operation(xs, torch.tensor([xs.size(1)]))
        state, found, final, parts = step.start(), [], False, list(xs.split(counts, 1))
        while not final:
            part = parts.pop(0) if parts else xs[:, :0]
            count, last = torch.tensor([part.size(1)]), torch.tensor([not parts])
            padded = F.pad(part, (0, 0, 0, most - part.size(1)))
            (ys, count, final), state = step(Part(padded, count, last), state)
            found.append(ys[:, : int(count)])
        torch.testing.assert_close(torch.cat(found, 1), whole, rtol=0, atol=1e-4)
