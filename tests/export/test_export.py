"""The command writes what ESPnet's model computes, or nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from benchmarks.tiny_search import TOKENS
from espnet_stnas.cli.main import main as stnas
from espnet_stnas.export import check, made
from tests.export.conftest import make_training


def expected_of(model, speech: np.ndarray) -> torch.Tensor:
    """What ESPnet computes for one utterance."""
    with torch.no_grad():
        xs = torch.tensor(speech, dtype=torch.float)[None]
        encoded, _ = model.encode(xs, torch.tensor([len(speech)]))
        return model.ctc.log_softmax(encoded)[0]


def test_a_batch_of_speech(trained, onnx_file):
    """Utterances have their own outputs, whatever is beside and behind them."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(onnx_file))
    lengths = [9000, 4321, 2000]
    speech = np.random.default_rng(0).standard_normal((3, 9000), np.float32)
    feed = {"speech": speech, "speech_lengths": np.array(lengths)}
    found, frames = map(torch.as_tensor, session.run(None, feed))
    for number, length in enumerate(lengths):
        expected = expected_of(trained[1], speech[number, :length])
        assert frames[number] == len(expected)
        torch.testing.assert_close(
            found[number, : frames[number]], expected, rtol=1e-3, atol=1e-3
        )


def test_what_the_file_says_about_itself(trained, onnx_file):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(onnx_file))
    values = [*session.get_inputs(), *session.get_outputs()]
    assert [(value.name, value.shape) for value in values] == [
        ("speech", ["batch", "time"]),
        ("speech_lengths", ["batch"]),
        ("log_probs", ["batch", "frames", 6]),
        ("log_probs_lengths", ["batch"]),
    ]
    found = session.get_modelmeta().custom_metadata_map
    assert json.loads(found["tokens"]) == TOKENS and found["blank"] == "0"
    assert found["input"] == "speech" and found["sample_rate"] == "8000"
    # tdnn-C1S2 sees one frame to the right, and conv2d-S2, whose two convolutions have
    # 3 taps, 2 + 2 * 2 of its frames.
    numbers = [found[key] for key in ("frame_shift_ms", "subsampling", "right_frames")]
    assert numbers == ["10", "4", "13"]
    assert found["encoder_lookahead_ms"] == "130" and found["lookahead_ms"] == "inf"
    assert len(found["weights_sha256"]) == 64
    assert json.loads(found["architecture"])["width"] == 16


def test_what_is_printed(trained, speech, tmp_path, capsys):
    path = tmp_path / "m.pt2"
    stnas(["export", str(trained[0]), "--output", str(path), "--input", "features"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        f"{path}: features of 8 to log-probabilities of 6 symbols, weights of "
        f"{trained[0]}/valid.loss.best.pth"
    )
    assert re.fullmatch(
        rf"compared with the model on 6 utterances \({speech}/dev/wav.scp, "
        r"\d+ output frames\):",
        lines[1],
    )
    assert [line.split()[0] for line in lines[2:]] == ["kB", "torch", "torch.export"]
    program = torch.export.load(path, extra_files={"metadata.json": ""}).module()
    frames = torch.randn(1, 50, 8)
    with torch.no_grad():
        normed, lengths = trained[1].normalize(frames.clone(), torch.tensor([50]))
        encoded, _, _ = trained[1].encoder(normed, lengths)
        expected = trained[1].ctc.log_softmax(encoded)
    found, _ = program(frames, torch.tensor([50]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_an_encoder_alone(trained, tmp_path, capsys):
    path = tmp_path / "e.pt2"
    words = ["--output", str(path), "--encoder_only", "--check_utterances=2", "--json"]
    stnas(["export", str(trained[0]), *words])
    found = json.loads(capsys.readouterr().out)
    assert "tokens" not in found["metadata"] and found["metadata"]["input"] == "frames"
    assert found["files"][0]["utterances"] == 2
    program = torch.export.load(path).module()
    xs, lengths = torch.randn(2, 31, 8), torch.tensor([31, 20])
    encoded, _, _ = trained[1].encoder(xs, lengths)
    torch.testing.assert_close(program(xs, lengths)[0], encoded)


def decoded(onnx_file, wav_scp) -> list[str]:
    """Lines of a text file: what a file hears."""
    from examples.decode_onnx import text_of

    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(onnx_file))
    metadata = session.get_modelmeta().custom_metadata_map
    lines = []
    for line in wav_scp.read_text().splitlines():
        name, path = line.split()
        xs = soundfile.read(path, dtype="float32")[0][None]
        feed = {"speech": xs, "speech_lengths": np.array([xs.shape[1]])}
        log_probs = session.run(None, feed)[0][0]
        lines.append(f"{name} {text_of(log_probs, metadata) or 'a'}")
    return lines


@pytest.fixture
def heard(onnx_file, speech, tmp_path):
    """Speech, with what the model hears as its transcripts: no errors."""
    wav_scp = speech / "dev" / "wav.scp"
    text = tmp_path / "text"
    text.write_text("\n".join(decoded(onnx_file, wav_scp)) + "\n")
    return f"{wav_scp},{text}"


def test_8_bits(trained, heard, onnx_file, tmp_path, capsys):
    path = tmp_path / "small.onnx"
    options = ["--check", heard, "--max_wer_increase", "100"]
    words = ["export", str(trained[0]), "--int8", "--output", str(path), *options]
    stnas([*words, "--json"])
    large, small = json.loads(capsys.readouterr().out)["files"]
    assert large["wer"] == 0 <= small["wer"] <= 100
    assert small["bytes"] == path.stat().st_size < large["bytes"]
    assert large["difference"] < 1e-3 < small["difference"]
    onnxruntime = pytest.importorskip("onnxruntime")
    maps = [
        onnxruntime.InferenceSession(str(p)).get_modelmeta().custom_metadata_map
        for p in (path, onnx_file)
    ]
    assert maps[0].items() >= maps[1].items()


def test_8_bits_that_are_worse_are_not_written(trained, heard, tmp_path, monkeypatch):
    whole = made.make_int8

    def deaf(training, before, speech):
        small = whole(training, before, speech)
        return replace(small, runner=lambda xs: np.roll(before.runner(xs), 1, axis=2))

    monkeypatch.setattr(made, "make_int8", deaf)
    words = ["export", str(trained[0]), "--int8", "--check", heard]
    message = "not written: 8 bits raise the word error rate from 0.00 to 100.00 %, and"
    with pytest.raises(SystemExit, match=message):
        stnas([*words, "--output", str(tmp_path / "small.onnx")])
    assert not (tmp_path / "small.onnx").exists()


def test_nothing_to_quantise(onnx_file):
    onnx = pytest.importorskip("onnx")
    from espnet_stnas.errors import ConfigError
    from espnet_stnas.export.quantised import int8_bytes

    xs = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    ys = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"], "node")
    graph = onnx.helper.make_graph([node], "g", [xs], [ys])
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    with pytest.raises(ConfigError, match="quantises none of this model's operations"):
        int8_bytes(model.SerializeToString())
    with pytest.raises(ConfigError, match="onnxruntime cannot quantise this model: "):
        int8_bytes(b"no model")


def test_a_file_that_differs_is_not_written(trained, tmp_path, monkeypatch):
    def wrong(data):
        runner = check.program_runner(data)
        return lambda xs: runner(xs) + 0.1

    monkeypatch.setattr(made, "program_runner", wrong)
    with pytest.raises(SystemExit, match="not written, since its outputs differ from"):
        stnas(["export", str(trained[0]), "--output", str(tmp_path / "m.pt2")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output=e.bin"], "output is 'e.bin'; accepted is a name that ends"),
        (["--output=e.pt2", "--int8"], "accepted with --int8 is a name that ends in"),
        (["--output=e.pt2", "--model_file=no.pth"], "no.pth does not exist; is the"),
        (["--output=e.pt2", "--model_file=config.yaml"], "no ASR model can be built"),
        (["--output=e.pt2", "--check=no.scp"], "check is 'no.scp', and no.scp does no"),
        (["--output=e.pt2", "--check_utterances=0"], "check_utterances is 0; accepted"),
        (["--output=e.onnx", "--max_wer_increase=-1"], "max_wer_increase is -1.0; acc"),
    ],
)
def test_what_the_command_refuses(trained, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        stnas(["export", str(trained[0]), *options])
    assert list(tmp_path.iterdir()) == []


def test_no_input_for_an_encoder_alone(capsys):
    with pytest.raises(SystemExit, match="2"):
        stnas(["export", "x", "--output=e.pt2", "--encoder_only", "--input=speech"])
    assert "--input speech is for a whole recogniser" in capsys.readouterr().err


def test_other_experiments(tmp_path):
    with pytest.raises(SystemExit, match="nothing is no directory; accepted is the ou"):
        stnas(["export", str(tmp_path / "nothing"), "--output=e.onnx"])
    with pytest.raises(SystemExit, match="has none of the weights valid.loss.ave.pth"):
        stnas(["export", str(tmp_path), "--output=e.onnx"])


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        (
            {"model_conf": {"ctc_weight": 0.0}, "decoder": "transformer"},
            [],
            "the model has no CTC output .ctc_weight is 0.; accepted are trainings",
        ),
        (
            {
                "preencoder": "linear",
                "preencoder_conf": {"input_size": 8, "output_size": 4},
            },
            [],
            "the model has the preencoder 'LinearProjection'; accepted for export is",
        ),
        (
            {"frontend": None, "input_size": 8},
            ["--input=speech"],
            "input is 'speech', and the training has no front end; accepted is 'featu",
        ),
        (
            {"encoder": "rnn", "encoder_conf": {"num_layers": 1}},
            [],
            "config.yaml has the encoder 'rnn'; accepted is 'stnas'",
        ),
        ({}, ["--int8"], "--int8 counts errors before and after, and there are no tra"),
    ],
)
def test_other_trainings(tmp_path, changes, options, message):
    make_training(tmp_path / "asr", **changes)
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        stnas(["export", str(tmp_path / "asr"), "--output=e.onnx", *options])


def test_a_decoder_is_left_out(tmp_path, capsys):
    changes = {"model_conf": {"ctc_weight": 0.3}, "decoder": "transformer"}
    make_training(tmp_path / "asr", **changes)
    stnas(["export", str(tmp_path / "asr"), "--output", str(tmp_path / "m.pt2")])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        "note: the file has no TransformerDecoder, which ESPnet also decodes with"
    )


def test_features_without_a_front_end_are_compared_on_noise(tmp_path, capsys):
    make_training(tmp_path / "asr", frontend=None, input_size=8, normalize=None)
    path = tmp_path / "m.pt2"
    stnas(["export", str(tmp_path / "asr"), "--output", str(path), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["utterances"] == "random ones"
    assert found["metadata"]["input"] == "features"
    assert "sample_rate" not in found["metadata"]
