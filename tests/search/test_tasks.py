"""Searches of other tasks than ASR with CTC."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from espnet_stnas import run
from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import build_estimator
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.search import program
from espnet_stnas.search.names import TASKS
from espnet_stnas.search.task import SearchASRTask, describe_sizes
from espnet_stnas.search.tasks import search_task
from espnet_stnas.supernet.supernet import find_supernet
from tests.host.test_tasks import (
    CASES,
    ENCODER,
    TRANSDUCER,
    TRANSFORMER,
    build,
    frames,
    transducer_loss,  # noqa: F401  (a fixture)
)
from tests.search.conftest import command, derive, search_config

# The transducer of asr has a name of its own among the cases.
OF_TASK = {name: name if name in CASES else "asr_transducer" for name in TASKS}
CHOICE = ["tdnn-C1D1", "tdnn-C1D2"]


@pytest.mark.usefixtures("transducer_loss")
@pytest.mark.parametrize("name", TASKS)
def test_task_trains_weights_and_logits(name, tmp_path):
    """As the trainer does: two optimizers, and a sampled path for each step."""
    if name == "cls":
        pytest.importorskip("torcheval", reason="ESPnet's cls needs torcheval")
    case = CASES[OF_TASK[name]]
    layers = [*case.options.get("encoder_conf", ENCODER)["layers"], CHOICE]
    conf = {**ENCODER, "layers": layers}
    case = replace(case, options={**case.options, "encoder_conf": conf})
    task = search_task(name)
    model, args = build(case, tmp_path, task)
    assert args.task == name
    weights, logits = task.build_optimizers(args, model)
    supernet = find_supernet(model)
    assert [id(p) for g in logits.param_groups for p in g["params"]] == [
        id(p) for p in supernet.logits
    ]
    counts = [sum(len(g["params"]) for g in o.param_groups) for o in (weights, logits)]
    assert sum(counts) == len(list(model.parameters()))
    batch = {**(frames() if case.features else {}), **case.batch}
    gates = supernet.architecture_gates(
        build_estimator("st", {}), torch.Generator().manual_seed(0)
    )
    with supernet.routed(gates):
        loss, _, _ = model.train()(**batch)
    loss.backward()
    for parameter in supernet.logits:
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.any()


def test_sizes_of_encoder_and_model(tmp_path):
    """The smallest and the largest architecture, as their trainings count them."""
    layers = ["tdnn-C1S3D1", ["tdnn-C1D1", "tdnn-C2D1"]]
    conf = {**ENCODER, "layers": layers}
    case = CASES["asr_ctc"]
    sizes = []
    for choice in (layers, [layers[0], "tdnn-C1D1"], [layers[0], "tdnn-C2D1"]):
        options = {**case.options, "encoder_conf": {**conf, "layers": choice}}
        task = search_task("asr") if choice is layers else None
        model, _ = build(replace(case, options=options), tmp_path, task)
        parts = (model.encoder.network, model)
        sizes.append([sum(p.numel() for p in part.parameters()) for part in parts])
        if choice is layers:
            text = describe_sizes(model)
    (supernet, model), (low, low_model), (high, high_model) = sizes
    assert text == (
        f"Parameters: architectures of this space have {low:,} to {high:,} in the "
        f"encoder ({low_model:,} to {high_model:,} in the whole model); all candidates "
        f"together have {supernet:,} ({model:,})"
    )


@pytest.mark.parametrize("name", TASKS)
def test_task_reaches_spawned_workers(name):
    """ESPnet sends them a method of the class."""
    if name == "cls":
        pytest.importorskip("torcheval", reason="ESPnet's cls needs torcheval")
    worker = search_task(name).main_worker
    assert pickle.loads(pickle.dumps(worker)) == worker
    assert search_task(name) is search_task(name)


def test_unknown_task_is_one_sentence():
    with pytest.raises(ConfigError, match="task is 'tts'; accepted are: asr, st, slu,"):
        search_task("tts")
    with pytest.raises(SystemExit, match="^error: task is 'tts'; accepted are"):
        program.main(["--task", "tts"])


def test_task_without_its_packages_is_one_sentence(monkeypatch):
    monkeypatch.setitem(TASKS, "own", ("no_such_task", "Task"))
    with pytest.raises(ConfigError, match="task is 'own', which needs espnet2.tasks.n"):
        search_task("own")


PROGRAM = "espnet_stnas.search.program"


@pytest.mark.parametrize(
    ("given", "run_instead"),
    [
        ("espnet2.bin.asr_train", [PROGRAM, "--task", "asr", "--x"]),
        ("espnet2.bin.slu_train", [PROGRAM, "--task", "slu", "--x"]),
        ("espnet2.bin.s2t_train_ctc", [PROGRAM, "--task", "s2t_ctc", "--x"]),
        ("espnet2.bin.lm_train", ["espnet2.bin.lm_train", "--x"]),
        ("espnet2.bin.asr_inference", ["espnet2.bin.asr_inference", "--x"]),
        ("st", ["st", "--x"]),
    ],
)
def test_run_searches_instead_of_training(given, run_instead):
    assert run._search_instead([given, "--x"]) == run_instead


def test_asr_is_the_default():
    assert search_task("asr") is SearchASRTask
    with pytest.raises(SystemExit) as ended:
        program.main(["--help"])
    assert ended.value.code == 0


def text_twice(corpus, name: str) -> list[str]:
    """A second text of each utterance, such as the source of a translation."""
    return [
        option
        for part, directory in (("train", "train"), ("valid", "dev"))
        for option in (
            f"--{part}_data_path_and_name_and_type",
            f"{corpus}/{directory}/text,{name},text",
        )
    ]


def tiny_task(name: str, corpus) -> tuple[dict[str, Any], list[str]]:
    """What a search of seconds changes for a task: configuration and command line."""
    attention = {"decoder": "transformer", "decoder_conf": TRANSFORMER}
    if name == "slu":
        return {**attention, "model_conf": {"ctc_weight": 0.5}}, []
    if name == "st":
        # Its BLEU needs nltk, which ESPnet 202611 does not require.
        model = {"asr_weight": 0.3, "mtlalpha": 1.0, "report_bleu": False}
        tokens = ["--src_token_list", str(corpus / "tokens.txt")]
        tokens += ["--src_token_type", "char"]
        options = [*tokens, *text_twice(corpus, "src_text")]
        return {**attention, "model_conf": model}, options
    return dict(TRANSDUCER), []


@pytest.mark.slow
@pytest.mark.usefixtures("transducer_loss")
@pytest.mark.parametrize("name", ["slu", "st", "asr"])
def test_search(name, corpus, tmp_path, capsys):
    """Also of ASR with a transducer: all epochs, and an architecture at their end."""
    changes, options = tiny_task(name, corpus)
    config = search_config(
        **{
            **changes,
            "encoder_conf": {
                "width": 8,
                "dropout_rate": 0.1,
                "layers": ["tdnn-C1S3D1", CHOICE],
            },
        }
    )
    exp = tmp_path / "exp"
    program.main(["--task", name, *command(corpus, exp, config, *options)])
    derive(str(exp), "--output", str(tmp_path / "a.yaml"))
    assert Architecture.read(tmp_path / "a.yaml").space.is_architecture
    log = (exp / "architectures" / "3epoch.yaml").read_text()
    (first, second) = map(float, re.findall(r"tdnn-C1D[12]: ([0-9.]+)", log))
    assert first != second and abs(first + second - 1) < 1e-5
