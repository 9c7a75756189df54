from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.report.speed import model_sizes, real_time_factors
from espnet_stnas.report.table import markdown
from espnet_stnas.report.trainings import Sizes, Training, open_training
from espnet_stnas.report.trainings import TestResult as Scores


def training(name: str, wer: float) -> Training:
    scores = (Scores("decode_test", wer, wer / 2),)
    sizes = Sizes(encoder=1234567, model=2345678, input_size=80)
    return Training(Path(name), name, "stnas", scores, sizes, None, 61.4, 0.00125)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line[1:-1].split("|")]


def test_table_with_mean_and_spread_of_random_ones():
    rows = [training("derived", 4.0), training("random1", 10), training("random2", 20)]
    table = markdown(rows).splitlines()
    assert cells(table[0]) == [
        *("training", "encoder", "parameters of encoder", "of model", "test set"),
        *("WER %", "CER %", "training s", "real-time factor"),
    ]
    assert cells(table[2]) == [
        *("derived", "stnas", "1,234,567", "2,345,678", "decode_test"),
        *("4.00", "2.00", "61", "0.0013"),
    ]
    assert cells(table[-1])[4:7] == ["decode_test", "15.00 ± 7.07", "7.50 ± 3.54"]
    assert len({len(line) for line in table}) == 1
    assert len(markdown(rows[:1]).splitlines()) == 3


def test_columns_of_which_nothing_is_known_are_left_out():
    alone = replace(training("a|b", 4.0), scores=(), sizes=None, seconds=None, rtf=None)
    lines = markdown([alone]).splitlines()
    assert cells(lines[0]) == ["training", "encoder", "test set"]
    assert lines[2].startswith("| a\\|b ")
    assert cells(lines[2])[-1] == "not scored"


@pytest.fixture
def experiment(tmp_path):
    """A trained experiment: config, weights, score and the times of two runs."""
    from espnet2.tasks.asr import ASRTask

    exp = tmp_path / "derived"
    (exp / "decode_test").mkdir(parents=True)
    args = ASRTask.get_parser().parse_args(["--output_dir", str(exp)])
    config = {
        **vars(args),
        "token_list": ["<blank>", "<unk>", "a", "<sos/eos>"],
        "encoder": "stnas",
        "encoder_conf": {"layers": ["tdnn-C1S3"], "width": 4},
        "frontend_conf": {"fs": 8000, "n_fft": 128, "hop_length": 80, "n_mels": 8},
        "normalize": "utterance_mvn",
        "model_conf": {"ctc_weight": 1.0},
    }
    (exp / "config.yaml").write_text(yaml.safe_dump(config))
    model, _ = ASRTask.build_model_from_file(str(exp / "config.yaml"))
    torch.save(model.state_dict(), exp / "valid.loss.best.pth")
    (exp / "decode_test" / "score.yaml").write_text("{wer: 3.5, cer: 1.5}\n")
    (exp / "train_seconds").write_text("60\n30\n")
    return exp, model


def test_sizes_of_encoder_and_model(experiment):
    exp, model = experiment
    encoder, whole = (
        sum(p.numel() for p in module.parameters()) for module in (model.encoder, model)
    )
    assert model_sizes(exp) == Sizes(encoder, whole, 8)
    assert encoder < whole
    (exp / "config.yaml").write_text("encoder: stnas\n")
    assert model_sizes(exp) is None


WAVS = [(torch.randn(4000), 8000), (torch.randn(6000), 8000)]


def test_speed(experiment):
    exp, _ = experiment
    one, two = real_time_factors([exp, exp], WAVS)
    assert one > 0 and two > 0
    assert open_training(exp).seconds == 90.0


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "valid.loss.best.pth",
            "has none of the weights valid.loss.ave.pth, ",
        ),
        ("config.yaml", "config.yaml does not exist; is the training complete"),
    ],
)
def test_missing_files(experiment, file, message):
    exp, _ = experiment
    (exp / file).unlink()
    with pytest.raises(ConfigError, match=message):
        real_time_factors([exp], WAVS)


def test_trainings_alone_are_a_table(experiment, tmp_path, capsys):
    """Nothing is written but where it is asked for."""
    exp, _ = experiment
    before = sorted(exp.rglob("*"))
    stnas(["report", str(exp)])
    table = capsys.readouterr().out
    assert cells(table.splitlines()[2])[:2] == ["derived", "stnas"]
    assert sorted(exp.rglob("*")) == before
    stnas(["report", str(exp), "--output", str(tmp_path / "out")])
    assert capsys.readouterr().out.startswith(table)
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["report.html", "table.md"]
    assert (tmp_path / "out" / "table.md").read_text() == table


def test_programs_get_nothing_but_json(experiment, monkeypatch, capsys):
    """ESPnet prints lines of its own."""
    exp, _ = experiment

    def noisy(path):
        print("Failed to import something")
        return Sizes(3, 4, 8)

    monkeypatch.setattr("espnet_stnas.report.speed.model_sizes", noisy)
    stnas(["report", str(exp), "--json"])
    (found,) = json.loads(capsys.readouterr().out)["trainings"]
    assert (found["encoder_parameters"], found["model_parameters"]) == (3, 4)
    assert found["scores"] == [{"test": "decode_test", "wer": 3.5, "cer": 1.5}]
