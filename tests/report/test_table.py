from __future__ import annotations

import pytest
import torch
import yaml

from espnet_stnas.errors import ConfigError
from espnet_stnas.report.table import Result, collect, markdown


def result(name: str, wer: float) -> Result:
    return Result(name, 1234567, wer, wer / 2, 61.4, 0.00125)


def test_table_with_mean_and_spread_of_random_ones():
    table = markdown(
        [result("derived", 4.0), result("random1", 10.0), result("random2", 20.0)]
    ).splitlines()
    assert table[2] == "| derived | 1,234,567 | 4.00 | 2.00 | 61 | 0.0013 |"
    assert table[-1] == ("| mean ± sd of 2 random | | 15.00 ± 7.07 | 7.50 ± 3.54 | | |")
    assert len(markdown([result("derived", 4.0)]).splitlines()) == 3


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
    torch.save(model.state_dict(), exp / "model.pth")
    (exp / "decode_test" / "score.yaml").write_text("{wer: 3.5, cer: 1.5}\n")
    (exp / "train_seconds").write_text("60\n30\n")
    return exp, sum(p.numel() for p in model.parameters())


def gather(*experiments):
    return collect(
        experiments,
        wavs=[(torch.randn(4000), 8000), (torch.randn(6000), 8000)],
        model_file="model.pth",
        score_file="decode_test/score.yaml",
    )


def test_collect(experiment):
    exp, parameters = experiment
    one, two = gather(exp, exp)
    assert (one.name, one.parameters, one.wer, one.cer) == (
        "derived",
        parameters,
        3.5,
        1.5,
    )
    assert one.train_seconds == 90.0
    assert one.rtf > 0
    assert two.rtf > 0


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("model.pth", "model.pth does not exist; is the training complete"),
        ("config.yaml", "config.yaml does not exist; is the training complete"),
        ("decode_test/score.yaml", "score file .*score.yaml does not exist"),
    ],
)
def test_missing_files(experiment, file, message):
    exp, _ = experiment
    (exp / file).unlink()
    with pytest.raises(ConfigError, match=message):
        gather(exp)
