"""From a text to a label LM, a training, and inference without the label LM."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

import espnet_stnas  # noqa: F401  (registers encoder and model)
from espnet_stnas.cli.main import main as stnas
from espnet_stnas.ctc_crf.arpa import read_arpa
from tests.search.conftest import command, corpus, search_config  # noqa: F401

UNITS = ("--token_type", "char")


def estimate(corpus: Path, *options: str) -> None:  # noqa: F811
    """Make a label LM of the training text."""
    stnas(
        [
            "label-lm",
            *("--token_list", str(corpus / "tokens.txt"), *UNITS),
            *(str(corpus / "train" / "text"), *options),
        ]
    )


def train(corpus: Path, exp: Path) -> None:  # noqa: F811
    """One epoch with a fixed encoder, with the label LM inside the YAML."""
    from espnet2.bin import asr_train

    config = search_config(max_epoch=1)
    config["encoder_conf"] = {"layers": ["tdnn-C1S3D1", "tdnn-C1D2"], "width": 6}
    for option in ("optim2", "optim2_conf", "warmup_epochs", "arch_fraction"):
        del config[option]
    template, output = exp.with_suffix(".plain"), exp.with_suffix(".crf")
    template.write_text(yaml.safe_dump(config))
    files = ("--train_config", str(template), "--train_output", str(output))
    estimate(corpus, "--order", "3", *files)
    config = yaml.safe_load(output.read_text())
    assert config["model_conf"]["ctc_weight"] == 1.0
    asr_train.main(command(corpus, exp, config))


@pytest.mark.slow
def test_training_and_inference(corpus, tmp_path, caplog):  # noqa: F811
    from espnet2.bin.asr_inference import Speech2Text

    with caplog.at_level("INFO"):
        train(corpus, tmp_path / "exp")
    results = [r.getMessage() for r in caplog.records if "results:" in r.getMessage()]
    for name in ("loss_ctc", "crf_numerator", "crf_denominator", "crf_lm"):
        assert re.search(rf"\[train\].* {name}=.*\[valid\].* {name}=", results[-1])
    speech2text = Speech2Text(
        tmp_path / "exp" / "config.yaml",
        tmp_path / "exp" / "1epoch.pth",
        ctc_weight=1.0,
        beam_size=2,
    )
    assert type(speech2text.asr_model).__name__ == "ESPnetCTCCRFModel"
    speech2text(np.random.default_rng(1).standard_normal(4000).astype(np.float32))
    # Its loss was never asked for, so that its label LM was never read.
    assert "lm" not in vars(speech2text.asr_model.ctc.criterion)


@pytest.mark.slow
def test_a_search_with_ctc_crf(corpus, tmp_path):  # noqa: F811
    from espnet_stnas.search import program

    lm = str(tmp_path / "lm.arpa")
    estimate(corpus, "--output", lm)
    config = search_config(max_epoch=2, model="ctc_crf")
    config["model_conf"] = {"ctc_weight": 1.0, "crf_lm": lm}
    program.main(command(corpus, tmp_path / "exp", config))
    assert (tmp_path / "exp" / "architectures" / "2epoch.yaml").exists()


def test_command_prints_sizes_and_perplexity(corpus, tmp_path, capsys):  # noqa: F811
    output = tmp_path / "lm.arpa.gz"
    heldout = str(corpus / "dev" / "text")
    options = ("--order", "2", "--min_counts", "1", "2")
    estimate(corpus, *options, "--output", str(output), "--heldout", heldout)
    first = capsys.readouterr().out
    assert re.match(r"label LM: 5 1-grams, \d+ 2-grams; \d states\n", first)
    perplexity = re.search(r"perplexity of .*dev/text: (\S+) per label", first)
    # Three labels and ends, three labels to a line.
    assert 2 < float(perplexity[1]) < 4
    tokens = ("--token_list", str(corpus / "tokens.txt"))
    stnas(["label-lm", *tokens, "--arpa", str(output), "--heldout", heldout])
    assert capsys.readouterr().out == first
    assert ("<unk>",) not in read_arpa(output)


def test_command_takes_empty_lines_and_unknown_labels(tmp_path, capsys):
    (tmp_path / "tokens").write_text("<blank>\n<unk>\na\n<space>\n<sos/eos>\n")
    (tmp_path / "text").write_text("one a  a\ntwo\nthree\ta é\n")
    command = ["--token_list", str(tmp_path / "tokens")]
    command += [str(tmp_path / "text")]
    with pytest.raises(SystemExit, match="text: utterance 'three' has the label 'é'"):
        stnas(["label-lm", *command])
    output = tmp_path / "lm"
    stnas(["label-lm", *command, "--map_unknown", "--output", str(output)])
    found = read_arpa(output)
    assert ("<s>", "</s>") in found and ("<space>", "<unk>") in found
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, problem",
    [
        (("{}/missing",), "text .*missing does not exist"),
        (("--arpa", "{}/missing"), "label LM .*missing does not exist"),
        (("{}/empty",), "text .*empty holds no utterance"),
        (("{}/text", "--min_counts", "3", "2"), "min_counts is 3 2"),
        (("{}/text", "--token_type", "bpe"), "give its model"),
        (("{}/text", "--train_config", "{}/empty"), "2"),
    ],
)
def test_command_refuses(tmp_path, options, problem, capsys):
    (tmp_path / "tokens").write_text("<blank>\na\n<sos/eos>\n")
    (tmp_path / "text").write_text("one aa\n")
    (tmp_path / "empty").write_text("\n")
    options = [option.format(tmp_path) for option in options]
    with pytest.raises(SystemExit, match=problem):
        stnas(["label-lm", "--token_list", str(tmp_path / "tokens"), *options])
