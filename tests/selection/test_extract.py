"""Models of architectures with the weights of an elastic search."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from espnet2.bin.asr_inference import Speech2Text

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.estimators.base import Gate
from espnet_stnas.host.trained import load_model
from espnet_stnas.results.curves import read_epoch
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.results.search_options import SEARCH_OPTIONS
from espnet_stnas.search import program
from espnet_stnas.selection.data import data_files
from espnet_stnas.selection.scoring import PathScorer
from espnet_stnas.selection.source import Source
from espnet_stnas.supernet.paths import on_paths
from tests.search.conftest import TOKENS, command, search_config

CHOICE = ["tdnn-C1D1Nbn", "tdnn-C2D1Nbn", "identity"]


@pytest.fixture(scope="module", params=["kernel", "none"])
def elastic(request, corpus, tmp_path_factory) -> Path:
    """An elastic search of 2 epochs."""
    exp = tmp_path_factory.mktemp(request.param) / "exp"
    conf = {"width": 6, "dropout_rate": 0.1, "sharing": request.param}
    conf["layers"] = ["tdnn-C1S3D1", CHOICE, "conformer-H2K3F8"]
    options = {"elastic": True, "estimator": "uniform", "arch_data": "joint"}
    options |= {"encoder_conf": conf, "max_epoch": 2}
    program.main(command(corpus, exp, search_config(**options)))
    return exp


def extracted(exp: Path, tmp_path: Path, arch: str, capsys) -> tuple[Path, dict]:
    capsys.readouterr()
    output = tmp_path / "model"
    stnas(["extract", str(exp), arch, "--output", str(output), "--json"])
    return output, json.loads(capsys.readouterr().out)


def test_the_search_validates_the_largest(elastic):
    """Its running statistics are its own: no calibration is needed."""
    experiment = SearchExperiment.open(elastic)
    weights = torch.load(elastic / "2epoch.pth", weights_only=True)
    source = Source(experiment, weights, elastic, "cpu")
    loss = count = 0.0
    encoder = source.model.encoder.network
    with torch.no_grad(), encoder.routed([Gate((1,))]):
        for batch in source.batches(data_files(experiment, "valid")):
            one, _, weight = source.model(**batch)
            loss, count = loss + float(one) * int(weight), count + int(weight)
    valid = read_epoch(elastic, 2)[-1].valid_loss
    assert loss / count == pytest.approx(valid, rel=1e-5)


@pytest.mark.parametrize(("name", "index"), [("largest", 1), ("smallest", 2), ("0", 0)])
def test_an_extracted_model_is_the_path(elastic, tmp_path, capsys, name, index):
    """With statistics of its own, as `stnas evaluate` computes them for the path."""
    experiment = SearchExperiment.open(elastic)
    arch = name
    if name not in ("largest", "smallest"):
        arch = str(tmp_path / "arch.yaml")
        conf = experiment.space.resolve([index]).to_conf()
        Path(arch).write_text(yaml.safe_dump(conf))
    output, data = extracted(elastic, tmp_path, arch, capsys)
    assert data["layers"][1] == CHOICE[index]
    assert data["warnings"] == []
    model, args = load_model(output / "config.yaml", output / data["weights"])
    assert not set(SEARCH_OPTIONS) & set(vars(args))
    assert not any("logits" in key or "shared" in key for key in model.state_dict())
    parameters = sum(p.numel() for p in model.encoder.parameters())
    assert parameters == data["parameters"]

    weights = torch.load(elastic / "2epoch.pth", weights_only=True)
    source = Source(experiment, weights, elastic, "cpu")
    scorer = PathScorer(source.model)
    training = [
        scorer.prepare(batch)
        for batch in source.batches(data_files(experiment, "train"), most=20)
    ]
    statistics = scorer.calibrated([(index,)], training)
    for batch in source.batches(data_files(experiment, "valid")):
        frames = scorer.prepare(batch).features
        [(expected, olens)] = on_paths(
            source.model.encoder.network,
            [(index,)],
            *frames,
            lambda ys, n: (ys, n),
            statistics,
        )
        with torch.no_grad():
            ys, n = model.encode(batch["speech"], batch["speech_lengths"])
        assert torch.equal(n, olens)
        torch.testing.assert_close(ys, expected)


def test_espnet_decodes_it_without_code_of_the_search(elastic, tmp_path, capsys):
    output, data = extracted(elastic, tmp_path, "smallest", capsys)
    speech2text = Speech2Text(
        str(output / "config.yaml"),
        str(output / data["weights"]),
        ctc_weight=1.0,
        beam_size=2,
    )
    [(_, tokens, *_)] = speech2text(torch.randn(4000).numpy())[:1]
    assert set(tokens) <= set(TOKENS)
    code = (
        "import sys, espnet_stnas\n"
        "from espnet_stnas.host.trained import load_model\n"
        f"load_model('{output}/config.yaml', '{output}/{data['weights']}')\n"
        "print([m for m in sys.modules if m.startswith('espnet_stnas.supernet')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.splitlines()[-1] == "[]", found.stderr


def refusal(*words: str) -> str:
    with pytest.raises(SystemExit) as end:
        stnas(["extract", *words])
    return str(end.value)


def test_what_cannot_be_extracted_is_one_sentence(elastic, tmp_path, capsys):
    exp, output = str(elastic), str(tmp_path / "model")
    other = tmp_path / "other.yaml"
    other.write_text("{layers: [tdnn-C1S3D1, ff, conformer-H2K3F8], width: 6}")
    message = refusal(exp, str(other), "--output", output)
    assert "does not belong to the search space" in message
    young = tmp_path / "young"
    shutil.copytree(elastic, young)
    shutil.rmtree(young / "architectures")
    message = refusal(str(young), "largest", "--output", output)
    assert "has not finished an epoch yet" in message
    message = refusal(exp, "largest", "--output", exp)
    assert f"output is {exp}, which holds a training" in message
    message = refusal(exp, "largest", "--output", output, "--calibration", "0")
    assert "calibration is 0" in message
    assert not Path(output).exists()


def test_weights_that_were_not_trained_for_it_give_a_warning(
    finished_search, tmp_path, capsys
):
    _, data = extracted(finished_search, tmp_path, "largest", capsys)
    assert "was not elastic" in data["warnings"][0]
