"""Lines, curves and pictures of a search that runs."""

from __future__ import annotations

import json
import logging
import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import Reporter

from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.curves import read_curves, read_runs
from espnet_stnas.search import program
from espnet_stnas.search.state import SearchRun
from espnet_stnas.search.step_log import StepLog, compact, describe_signs
from espnet_stnas.supernet.supernet import build_supernet
from tests.conftest import tiny_space
from tests.search.conftest import command, search_config


def search_run(output_dir, **options) -> SearchRun:
    """A search without a model around its supernet."""
    defaults = {
        **{"output_dir": output_dir, "warmup_epochs": 0, "max_epoch": 1, "ngpu": 0},
        **{"estimator": "st", "estimator_conf": {}, "cost_conf": {}, "seed": 0},
        **{"arch_data": "train", "path_draws": "same", "log_interval": None},
    }
    model = build_supernet(tiny_space(["tdnn-C1D1", "tdnn-C2D1"]), 3)
    options = SimpleNamespace(**{**defaults, **options})
    return SearchRun(options, model, [], [None, None], DistributedOption())


@pytest.fixture(scope="module")
def searched(corpus, tmp_path_factory):
    """A search with a temperature and a cost, and its log."""
    exp = tmp_path_factory.mktemp("step_log") / "exp"
    config = search_config(
        estimator="gumbel_st",
        estimator_conf={"temperature": {"start": 4.0, "end": 1.0, "epochs": 2}},
        cost_conf={"kind": "params", "weight": 0.1},
        use_tensorboard=True,
        log_interval=3,
    )
    log = logging.getLogger()
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        program.main(command(corpus, exp, config))
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    return exp, records


def test_a_line_for_every_interval(searched):
    lines = [m for m in searched[1] if re.match(r"epoch \d+/3.*step", m)]
    # 4 weight batches in an epoch, an interval of 3: after 3, and at the end.
    assert [re.match(r"epoch (\d).*step (\d)/4", m).groups() for m in lines] == [
        (epoch, step) for epoch in "123" for step in "34"
    ]
    number = r"\d+(\.\d+)?"
    assert re.fullmatch(
        rf"epoch 1/3 \(warm-up\), step 3/4: loss {number}, \S+ \S+ left", lines[0]
    )
    assert re.fullmatch(
        rf"epoch 3/3, step 3/4: loss {number}, arch loss {number}, "
        r"entropy 0\.\d{3}, arg max [123][12], \S+ \S+ left",
        lines[-2],
    )
    # Once, right before the first line that needs it.
    messages = searched[1]
    (first,) = [i for i, m in enumerate(messages) if m.startswith("Signs of the arg")]
    assert messages[first] == (
        "Signs of the arg max: layer 2: 1 tdnn-C1D1, 2 tdnn-C1D2, 3 tdnn-C2D1Nbn; "
        "layer 3: 1 tdnn-C1D1, 2 tdnn-C1D2"
    )
    assert "arg max" in messages[first + 1]


def test_one_estimate_of_the_time_left(searched):
    started = [m for m in searched[1] if "epoch started" in m]
    assert started == ["1/3epoch started", "2/3epoch started.", "3/3epoch started."]


def test_curves_of_the_search(searched):
    exp, _ = searched
    found = read_curves(exp)
    steps = [m for m in found if m.loss is not None]
    ends = [m for m in found if m.valid_loss is not None]
    assert len(steps) == 6 and len(ends) == 3
    assert [m.at for m in ends] == [1.0, 2.0, 3.0]
    assert [m.arch_loss is None for m in steps] == [True] * 2 + [False] * 4
    assert [m.temperature for m in steps[2:]] == pytest.approx([4.0] * 2 + [1.0] * 2)
    assert all(m.cost is not None for m in found)
    # The last one is what the architecture file of the epoch says.
    from espnet_stnas.results.experiment import SearchExperiment

    expected = SearchExperiment.open(exp).architecture().provenance
    for pi, written in zip(ends[-1].probabilities, expected.probabilities, strict=True):
        assert list(pi) == pytest.approx(list(written.values()), abs=1e-6)


def test_means_are_those_of_espnet(searched):
    """Of all steps of an epoch, weighted as ESPnet does, which reports them in log."""
    exp, messages = searched
    for epoch in (1, 2, 3):
        (line,) = [m for m in messages if m.startswith(f"{epoch}epoch results")]
        expected = float(re.search(r"\[train\].*?, loss=([\d.]+)", line)[1])
        checkpoint = torch.load(exp / "checkpoint.pth", weights_only=True)
        stats = checkpoint["reporter"]["stats"][epoch]
        assert stats["train"]["loss"] == pytest.approx(expected, abs=1e-3)
        (end,) = [m for m in read_curves(exp) if m.epoch == epoch and m.valid_loss]
        assert end.valid_loss == pytest.approx(stats["valid"]["loss"])


def test_starts_are_noted(searched):
    (run,) = read_runs(searched[0])
    assert run["command"] and run["started"] and run["device"]


def test_tensorboard_gets_curves_and_architecture(searched):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(
        str(searched[0] / "tensorboard" / "train"), {"images": 0, "tensors": 0}
    )
    events.Reload()
    scalars = events.Tags()["scalars"]
    assert {"loss", "arch_loss", "temperature", "arch_cost_loss"} <= set(scalars)
    assert len(events.Images("architecture")) == 3
    texts = events.Tensors("architecture/text_summary")
    assert len(texts) == 3
    text = texts[-1].tensor_proto.string_val[0].decode()
    assert "tdnn-C1S3D1" in text and "margin" in text
    valid = EventAccumulator(str(searched[0] / "tensorboard" / "valid"))
    valid.Reload()
    names = set(valid.Tags()["scalars"])
    assert {"prob02_tdnn-C1D1", "entropy02", "entropy", "margin", "cost"} <= names


def test_wandb_gets_the_architecture(monkeypatch, tmp_path):
    """Through ESPnet's switch, by a module that keeps what it is given."""
    from espnet_stnas.search.pictures import show_architecture

    logged: list[dict] = []
    wandb = ModuleType("wandb")
    wandb.log = logged.append
    wandb.Image = lambda figure: ("image", type(figure).__name__)
    wandb.Html = lambda text: ("html", text)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    run = search_run(tmp_path, use_wandb=False)
    with Reporter().observe("train", epoch=2) as reporter:
        reporter.register({"loss": 1.0})
        show_architecture(run, None, reporter)
        assert logged == []
        run.options.use_wandb = True
        show_architecture(run, None, reporter)
    (values,) = logged
    assert values["architecture"] == ("image", "Figure")
    assert "tdnn-C1D1" in values["architecture_text"][1]
    assert values["iteration"] == 1


def test_resumed_searches_have_the_curves_of_uninterrupted_ones(
    searched, corpus, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    exp = tmp_path / "exp"
    config = search_config(
        estimator="gumbel_st",
        estimator_conf={"temperature": {"start": 4.0, "end": 1.0, "epochs": 2}},
        cost_conf={"kind": "params", "weight": 0.1},
        log_interval=3,
    )
    program.main(command(corpus, exp, config, "--max_epoch", "2"))
    # What a killed third epoch leaves.
    (exp / "curves" / "3epoch.jsonl").write_text('{"epoch": 3, "st')
    program.main(command(corpus, exp, config))
    assert len(read_runs(exp)) == 2
    # The log of each part says what the signs mean.
    assert caplog.text.count("Signs of the arg max") == 2

    def without_times(path):
        lines = []
        for file in sorted((path / "curves").iterdir()):
            for line in file.read_text().splitlines():
                values = json.loads(line)
                values.pop("seconds", None)
                lines.append(values)
        return lines

    assert without_times(exp) == without_times(searched[0])


def test_epochs_of_unknown_length(tmp_path, caplog):
    """Chunk iterators do not know how many batches they have."""

    class Unknown:
        def __len__(self) -> int:
            raise TypeError

    run = search_run(tmp_path, max_epoch=2, log_interval=2)
    with Reporter().observe("train", epoch=1) as reporter:
        log = StepLog(run, reporter, Unknown())
        with log, caplog.at_level(logging.INFO):
            for step in (1, 2, 3):
                reporter.register({"loss": float(step)})
                reporter.next()
                log(step)
            log.finish()
            log.finish()
    lines = [m for m in caplog.messages if m.startswith("epoch")]
    assert [line.split(", entropy")[0] for line in lines] == [
        "epoch 1/2, step 2: loss 1.5",
        "epoch 1/2, step 3: loss 3",
    ]
    assert not any("left" in line for line in lines)
    assert [m.at for m in read_curves(tmp_path)] == [pytest.approx(2 / 3), 1.0]


def test_signs():
    many = [f"tdnn-C{c}D{d}" for c in range(1, 7) for d in range(1, 8)]
    space = SearchSpace.from_conf({"width": 4, "layers": [many, ["tdnn", "zero"]]})
    one_hot = [tuple(float(k == best) for k in range(42)) for best in (0, 9, 34, 40)]
    assert compact(tuple(one_hot)) == "1az+"
    assert describe_signs(space).endswith("layer 2: 1 tdnn-C1D1, 2 zero")
