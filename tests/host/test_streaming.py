"""The encoder in ESPnet's streaming inference."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf
import torch
import yaml
from espnet2.bin import asr_inference_streaming as program
from espnet2.tasks.asr import ASRTask

from espnet_stnas.errors import ConfigError
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.host.streaming import accept_encoder

TOKENS = ["<blank>", "<unk>", *"abcdef", "<sos/eos>"]
LAYERS = ["tdnn-C2R1S3D1", "positions-Prel", "conformer-H2K5R0F8C4L4", "norm"]
RATE = 8000


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Writes the files of a model with random weights, and says where."""

    def write(layers, *options: str):
        folder = tmp_path_factory.mktemp("model")
        (folder / "tokens.txt").write_text("\n".join(TOKENS))
        args = ASRTask.get_parser().parse_args(
            [
                *("--token_list", str(folder / "tokens.txt"), "--token_type", "char"),
                *("--frontend_conf", "fs=8000", "--frontend_conf", "n_fft=256"),
                *("--frontend_conf", "hop_length=80", "--frontend_conf", "n_mels=12"),
                *("--normalize", "none", "--encoder", "stnas", *options),
            ]
        )
        args.encoder_conf = {"width": 16, "layers": layers}
        args.decoder_conf = {"linear_units": 8, "num_blocks": 1}
        args.token_list = TOKENS
        torch.manual_seed(3)
        model = ASRTask.build_model(args).eval()
        with torch.no_grad():
            model.ctc.ctc_lo.weight.mul_(20)  # so that hypotheses have tokens
        (folder / "config.yaml").write_text(yaml.safe_dump(vars(args)))
        torch.save(model.state_dict(), folder / "model.pth")
        return {
            "asr_train_config": folder / "config.yaml",
            "asr_model_file": folder / "model.pth",
        }

    return write


def speech(seconds: float) -> np.ndarray:
    generator = np.random.default_rng(0)
    pitch = np.repeat(generator.uniform(100, 2000, 40), int(seconds * RATE / 40))
    noise = generator.normal(size=len(pitch))
    return (np.sin(np.cumsum(pitch) / RATE * 6) + 0.3 * noise).astype(np.float32)


def encoded(recogniser, waves: np.ndarray, sizes: list[int]):
    """The encoder's output, the part sizes, and the hypothesis, part by part."""
    found = []
    hook = recogniser.asr_model.encoder.register_forward_hook(
        lambda module, inputs, outputs: found.append(outputs[0])
    )
    starts = np.cumsum([0, *sizes])
    for start, size in zip(starts, sizes, strict=False):
        part = torch.from_numpy(waves[start : start + size])
        results = recogniser(part, is_final=bool(start + size >= len(waves)))
    hook.remove()
    return torch.cat(found, dim=1), [ys.size(1) for ys in found], results[0][1]


@pytest.mark.parametrize(
    ("options", "weight"),
    [(("--model_conf", "ctc_weight=1.0"), 1.0), (("--decoder", "transformer"), 0.5)],
    ids=["ctc", "attention"],
)
def test_parts_of_speech_give_what_the_whole_gives(models, options, weight):
    recogniser = program.Speech2TextStreaming(
        **models(LAYERS, *options), ctc_weight=weight, beam_size=3,
        disable_repetition_detection=True,
    )  # fmt: skip
    waves = speech(2.5)
    whole, _, tokens = encoded(recogniser, waves, [len(waves)])
    assert len(tokens) > 2
    for size in (640, 3000):
        count = -(-len(waves) // size)
        ys, parts, again = encoded(recogniser, waves, [size] * count)
        torch.testing.assert_close(ys, whole, rtol=0, atol=1e-5)
        assert sum(n > 0 for n in parts) > 5
        assert again == tokens
    # As the model computes it elsewhere.
    lengths = torch.tensor([len(waves)])
    with torch.no_grad():
        model = recogniser.asr_model
        plain, _ = model.encode(torch.from_numpy(waves).unsqueeze(0), lengths)
    torch.testing.assert_close(plain, whole, rtol=0, atol=1e-5)


def test_the_program_writes_the_same_texts(models, tmp_path):
    files = models(LAYERS, "--model_conf", "ctc_weight=1.0")
    sf.write(tmp_path / "a.wav", 0.1 * speech(2.0), RATE)
    (tmp_path / "wav.scp").write_text(f"a {tmp_path / 'a.wav'}\n")
    texts = []
    for size in (0, 1600):
        options = {
            **files,
            "output_dir": tmp_path / f"out{size}",
            "data_path_and_name_and_type": f"{tmp_path / 'wav.scp'},speech,sound",
            "ctc_weight": 1.0,
            "lm_weight": 0.0,
            "beam_size": 3,
            "sim_chunk_length": size,
            "disable_repetition_detection": True,
            "num_workers": 0,
        }
        program.main([str(x) for key, v in options.items() for x in (f"--{key}", v)])
        texts.append((tmp_path / f"out{size}/1best_recog/text").read_text())
    assert len(texts[0].split()[1]) > 2
    assert texts[0] == texts[1]


def test_what_cannot_stream_is_refused_when_the_model_is_read(models):
    files = models(["tdnn", "blstm"], "--model_conf", "ctc_weight=1.0")
    with pytest.raises(ConfigError, match="'blstm' cannot run chunk by chunk"):
        program.Speech2TextStreaming(**files)


def test_the_program_is_changed_once():
    task = program.ASRTask
    accept_encoder(program)
    assert program.ASRTask is task


def test_infer_mode_as_espnet_calls_it():
    encoder = STNASEncoder(6, layers=["tdnn-C1R0S2", "lstm"], width=4).eval()
    xs = torch.randn(2, 21, 6)
    whole, olens, state = encoder(xs, torch.tensor([21, 21]))
    assert state is None
    found = []
    for part in xs.split(8, dim=1):
        final = part.size(1) < 8
        lengths = torch.full((2,), part.size(1))
        ys, counts, state = encoder(
            part, lengths, state, is_final=final, infer_mode=True
        )
        assert counts.tolist() == [ys.size(1)] * 2
        found.append(ys)
    assert state is None
    torch.testing.assert_close(torch.cat(found, 1), whole)
    with pytest.raises(ConfigError, match="are parts of equal length"):
        encoder(xs, torch.tensor([21, 20]), infer_mode=True)
    with pytest.raises(ConfigError, match="a search space cannot run chunk by chunk"):
        STNASEncoder(6, layers=[["tdnn", "identity"]], width=6).stream()
