"""What ``derive`` says about cost, and when it refuses."""

from __future__ import annotations

import pytest
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.cost.counts import macs_table, parameter_table
from espnet_stnas.cost.latency import measure_latency
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.provenance import search_provenance
from tests.conftest import tiny_space

SPACE = tiny_space("tdnn-C0D1", ["tdnn-C1D1", "tdnn-C2D1"], ["tdnn-C1D1", "identity"])
PATH = (1, 0)
PARAMS = parameter_table(SPACE, 3).of(PATH)
MACS = macs_table(SPACE, 3, 20).of(PATH)


@pytest.fixture
def arch(tmp_path):
    """Writes an architecture file with some provenance, and returns its path."""

    def write(**more: object) -> str:
        provenance = search_provenance(
            SPACE, [[0.1, 0.9], [0.8, 0.2]], epoch=1, seed=0, searching=True
        )
        path = tmp_path / "arch.yaml"
        Architecture(SPACE.resolve(PATH), provenance).write(path)
        data = yaml.safe_load(path.read_text())
        data["provenance"] |= more
        path.write_text(yaml.safe_dump(data))
        return str(path)

    return write


def run(path: str, *options: str) -> None:
    stnas(["derive", path, "--output", f"{path}.new", *options])


def params_cost(**more: object) -> dict:
    return {"input_size": 3, "cost": {"kind": "params", "value": PARAMS, **more}}


def test_parameters_always_and_more_on_request(arch, tmp_path, capsys):
    measure_latency(SPACE, 3, 9, repeat=1).write(tmp_path / "latency.yaml")
    options = ("--frames", "20", "--latency_table", str(tmp_path / "latency.yaml"))
    run(arch(input_size=3))
    one = capsys.readouterr().out.splitlines()
    assert one[-2:] == [
        f"cost: {PARAMS:,.0f} parameters with input_size 3",
        "cost: 30 ms of look-ahead with frames 10 ms apart",
    ]
    run(arch(input_size=3), *options, "--frame_shift", "8")
    *lines, ahead = capsys.readouterr().out.splitlines()[-4:]
    assert ahead == "cost: 24 ms of look-ahead with frames 8 ms apart"
    macs = f"cost: {MACS:,.0f} multiply-accumulates for 20 frames"
    assert lines[:2] == [one[-2], macs]
    table = yaml.safe_load((tmp_path / "latency.yaml").read_text())["layers"]
    whole = table[0]["tdnn-C0D1"] + table[1]["tdnn-C2D1"] + table[2]["tdnn-C1D1"]
    assert lines[2].startswith(f"cost: {whole:,.1f} microseconds for 9 frames: torch ")


def test_older_files_say_nothing_of_cost(arch, capsys):
    run(arch())
    assert "cost" not in capsys.readouterr().out
    run(arch(), "--input_size", "4")
    assert "parameters with input_size 4" in capsys.readouterr().out


def test_macs_and_latency_as_the_search_had_them(arch, capsys):
    run(arch(input_size=3, cost={"kind": "macs", "value": MACS, "frames": 20}))
    assert f"{MACS:,.0f} multiply-accumulates for 20 fra" in capsys.readouterr().out
    cost = {"kind": "latency", "value": 7.25, "frames": 9, "target": 7.0}
    run(arch(input_size=3, cost=cost))
    out = capsys.readouterr().out
    assert "cost: 7.2 microseconds for 9 frames, by the table of its search" in out
    assert "warning: the architecture has 7.2 microseconds for 9 frames" in out


@pytest.mark.parametrize(
    ("more", "options", "name"),
    [
        (params_cost(), ("--max_cost", "params=100"), "max_cost is 100 parameters"),
        (params_cost(target=100), (), "the target of its search is 100 parameters"),
        (
            {"input_size": 3},
            ("--max_cost", "macs=1k", "--frames", "20", "--max_cost", "params=1M"),
            "max_cost is 1,000 multiply-accumulates",
        ),
    ],
)
def test_budgets(arch, tmp_path, capsys, more, options, name):
    path = arch(**more)
    with pytest.raises(
        SystemExit, match=rf"^error: the architecture has .*; {name}; w"
    ):
        run(path, *options, "--strict")
    assert not (tmp_path / "arch.yaml.new").exists()
    run(path, *options)
    assert (tmp_path / "arch.yaml.new").exists()
    warnings = [x for x in capsys.readouterr().out.splitlines() if "warning" in x]
    assert len(warnings) == 1 and warnings[0].endswith(name)


def test_a_budget_that_is_kept(arch, capsys):
    options = ("--max_cost", f"params={PARAMS:.0f}", "--strict")
    run(arch(**params_cost(target=PARAMS)), *options)
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "options", "message"),
    [
        ({}, ("--max_cost", "flops=1"), "max_cost is 'flops=1'; accepted are params="),
        ({}, ("--max_cost", "params=x"), "max_cost: the number is 'x'; accepted is"),
        ({}, ("--max_cost", "params=6%"), "accepted is a number, not a share"),
        (
            {},
            ("--max_cost", "params=1"),
            "the parameters of .* are unknown",
        ),
        ({"input_size": 3}, ("--max_cost", "macs=1"), "multiply-accumulates .* unkn"),
        ({"input_size": 3}, ("--frames", "0"), "frames is 0; accepted is an integer"),
        ({"input_size": [3]}, (), r"input_size is \[3\]; accepted is an integer"),
        ({"input_size": "x"}, (), "input_size is 'x'; accepted is an integer"),
        ({"input_size": 3}, ("--latency_table", "no.yaml"), "latency table no.yaml do"),
        ({"cost": [1]}, (), r"provenance: cost is \[1\]; accepted is a mapping"),
        ({"cost": {"kind": "params"}}, (), "provenance: cost is .*accepted is"),
        (params_cost(target=10**400), (), "provenance: cost is .*accepted is"),
        (params_cost(target="x"), (), "provenance: cost is .*accepted is"),
    ],
)
def test_what_is_refused(arch, more, options, message):
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        run(arch(**more), *options)
