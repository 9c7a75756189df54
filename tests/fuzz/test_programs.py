"""Commands do their work, or end with one sentence and leave nothing half-done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from hypothesis import given
from hypothesis import strategies as st

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.files import read_yaml_mapping
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.provenance import search_provenance
from tests.fuzz.inputs import damaged_bytes, fuzz, litter, refused

SPACE = SearchSpace.from_conf(
    {
        "layers": [["tdnn-C1D1", "tdnn-C2D2"], "tdnn-C1S3D1", ["tdnn", "zero"]],
        "width": 8,
    }
)
TEMPLATE = {
    "encoder": "conformer",
    "encoder_conf": {"output_size": 4},
    "frontend": "default",
    "frontend_conf": {"n_mels": 40, "fs": "16k"},
    "optim_conf": {"lr": 0.001},
}
SEARCH = {"encoder": "stnas", "encoder_conf": SPACE.to_conf(), "warmup_epochs": 1}
SEARCH |= {"max_epoch": 3, "estimator": "st", "frontend": "default"}


def write(path: Path, data: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A search of 3 epochs, a template, and a place for output."""
    root = tmp_path_factory.mktemp("programs")
    write(root / "exp" / "config.yaml", SEARCH)
    for epoch, p in ((1, 0.5), (2, 0.4), (3, 0.2)):
        provenance = search_provenance(
            SPACE, [[p, 1 - p]] * 2, epoch=epoch, seed=0, searching=epoch > 1
        )
        path = root / "exp" / "architectures" / f"{epoch}epoch.yaml"
        Architecture(SPACE.resolve([int(epoch > 1)] * 2), provenance).write(path)
    write(root / "template.yaml", TEMPLATE)
    return root


def check_output(output: Path, failed: bool) -> None:
    """What is there is whole; temporary files are not."""
    for file in output.rglob("*.yaml"):
        data = read_yaml_mapping(file, "output")
        assert data["encoder"] == "stnas"
        assert SearchSpace.from_conf(data["encoder_conf"]).is_architecture
    assert failed or any(output.iterdir())
    assert litter(output) == []
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()


# Which file is damaged.
FILES = [
    "exp/config.yaml",
    "exp/architectures/3epoch.yaml",
    "exp/architectures/2epoch.yaml",
    "template.yaml",
]


@pytest.mark.parametrize("file", FILES)
@fuzz(30)
@given(draws=st.data())
def test_derive(root, capsys, file, draws):
    whole = (root / file).read_bytes()
    (root / file).write_bytes(draws.draw(damaged_bytes(yaml.safe_load(whole))))
    output = root / "derived"
    output.mkdir(exist_ok=True)
    options = [str(root / "exp"), "--output", str(output / "a.yaml")]
    options += ["--train_config", str(root / "template.yaml")]
    options += ["--train_output", str(output / "train.yaml")]
    try:
        failed = refused(stnas, ["derive", *options], capsys)
    finally:
        (root / file).write_bytes(whole)
    check_output(output, failed)


@fuzz(40)
@given(draws=st.data())
def test_derive_from_an_architecture_file(root, capsys, draws):
    data = yaml.safe_load((root / "exp/architectures/3epoch.yaml").read_text())
    (root / "arch.yaml").write_bytes(draws.draw(damaged_bytes(data)))
    output = root / "derived"
    output.mkdir(exist_ok=True)
    options = [str(root / "arch.yaml"), "--output", str(output / "a.yaml")]
    check_output(output, refused(stnas, ["derive", *options], capsys))


@pytest.mark.parametrize("epoch", ["\u00b2", "-1", "3.0", "", "9" * 5000, "latest "])
def test_epochs(root, tmp_path, capsys, epoch):
    options = [str(root / "exp"), f"--epoch={epoch}"]
    assert refused(stnas, ["derive", *options, "--output", str(tmp_path / "a")], capsys)


def test_names_of_files_cannot_break_out_of_a_comment(root, tmp_path, capsys):
    """Line breaks, and bytes that are no text, in the path of an architecture file."""
    for name in ("a\nencoder: rnn\n#.yaml", "a\udcff.yaml"):
        shutil.copy(root / "exp/architectures/3epoch.yaml", tmp_path / name)
        options = [str(tmp_path / name), "--train_config"]
        options += [str(root / "template.yaml"), "--train_output"]
        assert not refused(
            stnas, ["derive", *options, str(tmp_path / "t.yaml")], capsys
        )
        assert read_yaml_mapping(tmp_path / "t.yaml", "output")["encoder"] == "stnas"


@fuzz(40)
@given(draws=st.data())
def test_baselines(root, capsys, draws):
    (root / "search.yaml").write_bytes(draws.draw(damaged_bytes(SEARCH)))
    output = root / "baselines"
    output.mkdir(exist_ok=True)
    operations = st.sampled_from(["tdnn", "tdnn,zero", "", "tdnn-C", ",", "x" * 999])
    options = [f"{root}/search.yaml", f"--output={output}"]
    options += [f"--train_config={root}/template.yaml"]
    options += [f"--by_hand=one={draws.draw(operations)}"]
    options += [f"--random={draws.draw(st.sampled_from([0, 2, 4, 5, -1]))}"]
    check_output(output, refused(stnas, ["baselines", *options], capsys))


@fuzz(40)
@given(draws=st.data())
def test_check_features(root, capsys, draws):
    (root / "search.yaml").write_bytes(draws.draw(damaged_bytes(TEMPLATE)))
    options = [f"{root}/search.yaml"]
    if draws.draw(st.booleans()):
        options += [f"{root}/search.yaml"]
    if not refused(stnas, ["check-features", *options], capsys):
        assert set(json.loads(capsys.readouterr().out)) == {"frontend", "frontend_conf"}


@fuzz(8)
@given(draws=st.data())
def test_report(root, capsys, draws):
    file = root / draws.draw(st.sampled_from(FILES[:3]))
    whole = file.read_bytes()
    file.write_bytes(draws.draw(damaged_bytes(yaml.safe_load(whole))))
    output = root / "report"
    output.mkdir(exist_ok=True)
    try:
        failed = refused(stnas, ["report", f"{root}/exp", f"--output={output}"], capsys)
    finally:
        file.write_bytes(whole)
    check_output(output, failed)


@fuzz(50)
@given(st.binary(max_size=30), st.text(max_size=30), st.booleans())
def test_score(root, capsys, one, other, same):
    (root / "ref").write_bytes(b"utt1 a b\nutt2 c\n" + one)
    text = b"utt1 a\nutt2\n" + (one if same else other.encode("utf-8", "replace"))
    (root / "hyp").write_bytes(text)
    output = root / "score.yaml"
    output.unlink(missing_ok=True)
    options = [f"{root}/ref", f"{root}/hyp", f"--output={output}"]
    failed = refused(stnas, ["score", *options], capsys)
    assert failed == (not output.exists())
    assert failed or read_yaml_mapping(output, "score")["words"] >= 3


@pytest.mark.parametrize("text", [b"utt1\n", b"utt1 \nutt2 \n"])
def test_references_without_words(tmp_path, capsys, text):
    (tmp_path / "ref").write_bytes(text)
    options = [f"{tmp_path}/ref", f"{tmp_path}/ref"]
    with pytest.raises(SystemExit, match="error: text file .*ref holds no word"):
        stnas(["score", *options])


@pytest.fixture
def wavs(tmp_path) -> Path:
    """A test set of a good recording, and others that are not."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(4000)
    soundfile.write(tmp_path / "good.wav", noise, 8000)
    soundfile.write(tmp_path / "stereo.wav", np.stack([noise, noise], axis=1), 8000)
    soundfile.write(tmp_path / "empty.wav", noise[:0], 8000)
    (tmp_path / "junk.wav").write_bytes(b"RIFF\x00\xffjunk")
    (tmp_path / "wav.scp").write_text(f"a {tmp_path}/good.wav\n")
    return tmp_path


@pytest.mark.parametrize(
    "scp",
    [
        b"",
        b"\n",
        b"a\n",
        b"\xff\xfe a b\n",
        b"a nowhere.wav\n",
        b"a {}/junk.wav\n",
        b"a {}/stereo.wav\n",
        b"a {}/empty.wav\n",
        b"a {}\n",
        b"a sox {}/good.wav -t wav - |\n",
        b"a \x00\n",
    ],
)
def test_results_of_damaged_data(wavs, capsys, scp):
    (wavs / "wav.scp").write_bytes(scp.replace(b"{}", str(wavs).encode()))
    options = [str(wavs), f"--data={wavs}", f"--output={wavs}/table.md"]
    assert refused(stnas, ["report", *options], capsys)
    assert not (wavs / "table.md").exists()


@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_results_of_no_utterance(wavs, capsys, number):
    options = [str(wavs), f"--data={wavs}", f"--utterances={number}"]
    assert refused(stnas, ["report", *options], capsys)


DAMAGED = [
    ("model.pth", b"junk"),
    ("model.pth", b""),
    ("config.yaml", b"a: &a [*a]"),
    ("config.yaml", b"encoder: x"),
    ("config.yaml", b"\xff"),
    ("score.yaml", b"wer: x\ncer: 1.0"),
    ("score.yaml", b"wer: .nan\ncer: 1.0"),
    ("score.yaml", b"cer: 1.0"),
    ("train_seconds", b"60\nx\n"),
]


@pytest.mark.parametrize(("file", "content"), DAMAGED)
def test_results_of_damaged_experiments(wavs, capsys, file, content):
    exp = small_experiment(wavs / "exp")
    options = [str(exp), f"--data={wavs}", "--model_file=model.pth"]
    options += ["--score_file=score.yaml", f"--output={wavs}/table.md"]
    (exp / file).write_bytes(content)
    assert refused(stnas, ["report", *options], capsys)
    assert not (wavs / "table.md").exists()


def small_experiment(exp: Path) -> Path:
    """A trained experiment, as ESPnet leaves it."""
    import torch
    from espnet2.tasks.asr import ASRTask

    exp.mkdir()
    args = ASRTask.get_parser().parse_args(["--output_dir", str(exp)])
    changes = {
        "token_list": ["<blank>", "<unk>", "a", "<sos/eos>"],
        "encoder": "stnas",
        "encoder_conf": {"layers": ["tdnn-C1S3"], "width": 4},
        "frontend_conf": {"fs": 8000, "n_fft": 128, "hop_length": 80, "n_mels": 8},
        "normalize": "utterance_mvn",
        "model_conf": {"ctc_weight": 1.0},
    }
    write(exp / "config.yaml", {**vars(args), **changes})
    model, _ = ASRTask.build_model_from_file(str(exp / "config.yaml"))
    torch.save(model.state_dict(), exp / "model.pth")
    (exp / "score.yaml").write_text("{wer: 3.5, cer: 1.5}")
    return exp
