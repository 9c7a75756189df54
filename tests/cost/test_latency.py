"""The latency table and the command that writes it."""

from __future__ import annotations

import itertools

import pytest
import torch
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.cost import latency
from espnet_stnas.cost.latency_table import LatencyTable, this_machine
from espnet_stnas.errors import ConfigError
from tests.conftest import all_paths, tiny_space

PAIR = ["tdnn-C1D1", "identity"]
SPACE = tiny_space(
    "deltas",
    "tdnn-C0S2D1",
    {"residual": {"body": [PAIR], "shortcut": ["zero", "identity"]}},
    {"choice": "last", "candidates": PAIR},
    {"choice": "last", "candidates": PAIR},
)


@pytest.fixture
def files(tmp_path):
    """A YAML of the space, and where to write the table."""
    (tmp_path / "space.yaml").write_text(
        yaml.safe_dump({"encoder": "stnas", "encoder_conf": SPACE.to_conf()})
    )
    return tmp_path / "space.yaml", tmp_path / "latency.yaml"


def run(files, *options: str) -> None:
    stnas(
        [
            "measure-latency",
            *(str(files[0]), "--output", str(files[1])),
            *("--input_size", "3", "--frames", "9", "--repeat", "2", *options),
        ]
    )


def test_the_command_writes_a_table_that_is_read_back(files, capsys):
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    run(files)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    table = LatencyTable.read(files[1])
    assert (table.space, table.frames, table.threads) == (SPACE.digest, 9, 1)
    assert table.torch == table.runtime_version == torch.__version__ and table.device
    assert (table.runtime, table.precision) == ("torch", "fp32")
    assert table.machine == this_machine() and "another" not in table.conditions
    assert [set(layer) for layer in table.layers] == [
        {str(op) for op in layer.candidates} for layer in SPACE.layers
    ]
    # Alike in the operation and in all sizes: one measurement.
    assert table.layers[2] == table.layers[4] == table.layers[5]
    costs = table.costs(SPACE, 3, files[1])
    assert all(c > 0 for c in (costs.fixed, costs.minimum))
    for path in all_paths(SPACE):
        layers = SPACE.resolve(path).layers
        times = zip(table.layers, layers, strict=True)
        whole = sum(t[str(layer.candidates[0])] for t, layer in times)
        assert costs.of(path) == pytest.approx(whole)
    assert "microseconds to" in capsys.readouterr().out


def test_medians_of_timed_rounds(monkeypatch):
    """Warm-up rounds do not count, nor does one slow moment."""
    calls: dict[object, int] = {}

    def seconds(task, device, threads):
        calls[task] = calls.get(task, 0) + 1
        return [9, 9, 9, 1e-3, 5.0, 2e-3][calls[task] - 1]

    monkeypatch.setattr(latency, "_seconds", seconds)
    table = latency.measure_latency(SPACE, 3, 9, repeat=3)
    assert {t for layer in table.layers for t in layer.values()} == {2000.0}


@pytest.mark.parametrize(
    ("threads", "clock"), [(1, "process_time"), (2, "perf_counter")]
)
def test_clocks(monkeypatch, threads, clock):
    """CPU time of one thread; of several, the wall clock."""
    for name in ("process_time", "perf_counter"):
        step = 1.0 if name == clock else 100.0
        monkeypatch.setattr(latency.time, name, itertools.count(0.0, step).__next__)
    table = latency.measure_latency(SPACE, 3, 9, repeat=1, threads=threads)
    assert {t for layer in table.layers for t in layer.values()} == {1e6}


def changed(files, **changes):
    """The table with some keys changed."""
    if not files[1].exists():
        latency.measure_latency(SPACE, 3, 9, repeat=1).write(files[1])
    data = yaml.safe_load(files[1].read_text())
    files[1].write_text(yaml.safe_dump({**data, **changes}))
    return files[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "has format 2; accepted is 1"),
        ({"frames": "many"}, "frames is 'many', and should be of type int"),
        ({"layers": None}, "layers is None, and should be of type list"),
        ({"layers": [{"deltas-O2": -1}]}, "layer 1 is {'deltas-O2': -1}; accepted is"),
        ({"layers": [{"deltas-O2": float("nan")}]}, "layer 1 is {'deltas-O2': nan}"),
        ({"layers": [3]}, "layer 1 is 3; accepted is a mapping"),
        ({"layers": []}, "lacks candidate 'deltas-O2' of layer 1; measure it with"),
        ({"layers": [{"deltas-O2": 1}]}, "lacks candidate 'tdnn-C0S2D1' of layer 2"),
        ({"space": "0" * 12}, "is of another search space .'000000000000', and this"),
        ({"runtime": 3}, "runtime is 3, and should be of type str"),
        ({"input_size": 4}, "is for input_size 4, and here it is 3"),
    ],
)
def test_tables_that_are_refused(files, changes, message):
    path = changed(files, **changes)
    with pytest.raises(ConfigError, match=f"latency table .*{message}"):
        LatencyTable.read(path).costs(SPACE, 3, path)


def test_tables_of_other_machines_and_of_earlier_versions(files):
    path = changed(files, machine="Pixel 9, 8 CPUs", device="Tensor G4", runtime="tflm")
    table = LatencyTable.read(path)
    assert table.costs(SPACE, 3, path).minimum > 0
    assert table.conditions == (
        f"tflm {torch.__version__}, fp32, 1 CPU thread(s), Tensor G4, on another "
        "machine (Pixel 9, 8 CPUs)"
    )
    data = yaml.safe_load(path.read_text())
    for key in ("runtime", "precision", "machine", "runtime_version"):
        del data[key]
    path.write_text(yaml.safe_dump(data))
    assert LatencyTable.read(path).conditions == (
        "torch, fp32, 1 CPU thread(s), Tensor G4"
    )


@pytest.mark.parametrize("key", ["runtime", "precision", "device"])
def test_other_conditions_than_asked_for(files, key):
    table = LatencyTable.read(changed(files, device="AMD EPYC"))
    table.require("t", "", runtime="torch", precision="fp32", device="epyc")
    message = "^latency table t was measured on 'AMD EPYC' with runtime 'torch' and .*"
    with pytest.raises(ConfigError, match=f"{message}, and latency_{key} is 'other';"):
        table.require("t", "latency_", **{key: "other"})


def test_damaged_files(files):
    files[1].write_text("format: [1")
    with pytest.raises(ConfigError, match="latency table .* is not valid YAML"):
        LatencyTable.read(files[1])
    with pytest.raises(ConfigError, match="latency table .* does not exist"):
        LatencyTable.read(files[1].with_name("no.yaml"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device", "tpu"), "device is 'tpu'; accepted are: cpu, cuda"),
        (("--threads", "0"), "threads is 0; accepted is an integer from 1"),
        (("--repeat", "0"), "repeat is 0; accepted is an integer from 1"),
        (("--frames", "0"), "frames is 0; accepted is an integer from 1"),
        (("--input_size", "0"), "input_size is 0; accepted is an integer"),
    ],
)
def test_wrong_options_write_nothing(files, options, message):
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        run(files, *options)
    assert not files[1].exists()


def test_int8_is_not_for_torch(files, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(files, "--precision", "int8")
    assert "--precision int8 is for --runtime onnxruntime" in capsys.readouterr().err
    assert not files[1].exists()


def test_a_missing_space_writes_nothing(files):
    with pytest.raises(SystemExit, match="^error: .*no.yaml"):
        run((files[0].with_name("no.yaml"), files[1]))
    assert not files[1].exists()


def test_no_gpu(files, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="'cuda', but torch finds no CUDA device"):
        run(files, "--device", "cuda")
