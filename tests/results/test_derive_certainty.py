"""What derive says about how sure a search was."""

from __future__ import annotations

import pytest
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.derive import describe
from espnet_stnas.results.provenance import search_provenance

SPACE = SearchSpace.from_conf(
    {
        "layers": [["tdnn-C1D1", "tdnn-C12D2", "zero"], "deltas", ["tdnn", "zero"]],
        "width": 8,
    }
)
FLIPS = [
    ([0.2, 0.7, 0.1], [0.7, 0.3]),
    ([0.7, 0.2, 0.1], [0.7, 0.3]),
    ([0.3, 0.6, 0.1], [0.1, 0.9]),
    ([0.3, 0.5, 0.2], [0.4, 0.6]),
]
EVEN = ([0.34, 0.33, 0.33], [0.5, 0.5])
GONE = ([0.002, 0.996, 0.002], [0.4, 0.6])


def architecture(epoch: int, pi: tuple, warmup: int = 1) -> Architecture:
    best = [max(range(len(p)), key=p.__getitem__) for p in pi]
    provenance = search_provenance(
        SPACE, pi, epoch=epoch, seed=0, searching=epoch > warmup
    )
    return Architecture(SPACE.resolve(best), provenance)


@pytest.fixture
def make(tmp_path):
    """Makes the files of a search with an epoch of warm-up."""

    def experiment(*epochs: tuple, **config: object):
        exp = tmp_path / "exp"
        exp.mkdir()
        saved = {"encoder": "stnas", "encoder_conf": SPACE.to_conf()}
        saved |= {"warmup_epochs": 1, "estimator": "st", "max_epoch": 1 + len(epochs)}
        (exp / "config.yaml").write_text(yaml.safe_dump({**saved, **config}))
        for number, pi in enumerate([EVEN, *epochs], start=1):
            path = exp / "architectures" / f"{number}epoch.yaml"
            architecture(number, pi).write(path)
        return exp

    return experiment


@pytest.fixture
def derived(tmp_path, capsys):
    """Runs derive and returns the lines it prints, but the first one."""

    def run(*options: object) -> list[str]:
        output = str(tmp_path / "arch.yaml")
        stnas(["derive", *map(str, options), "--output", output])
        return capsys.readouterr().out.splitlines()[1:]

    return run


def test_margin_and_stability_in_columns(make, derived):
    assert derived(make(*FLIPS)) == [
        "     operation   probability  next best         margin  same for the last",
        "  1  tdnn-C12D2        0.500  tdnn-C1D1  0.300   0.200  "
        "2 of 4 epochs, 3 of the last 4 in all",
        "  2  deltas-O2",
        "  3  zero              0.600  tdnn-C1D1  0.400   0.200  2 of 4 epochs",
    ]


def test_only_epochs_up_to_the_chosen_one_count(make, derived):
    first = derived(make(*FLIPS), "--epoch", 2)[1]
    assert first.endswith("0.700  tdnn-C1D1  0.200   0.500  1 of 1 epochs")


def test_an_architecture_file_tells_margins_only(make, derived):
    file = make(*FLIPS) / "architectures" / "5epoch.yaml"
    lines = derived(file)
    assert lines == [
        "     operation   probability  next best         margin",
        "  1  tdnn-C12D2        0.500  tdnn-C1D1  0.300   0.200",
        "  2  deltas-O2",
        "  3  zero              0.600  tdnn-C1D1  0.400   0.200",
    ]
    # What derive writes has all that is needed to say it again.
    assert derived(file.parents[2] / "arch.yaml") == lines


def test_architectures_made_by_hand_have_no_figures():
    made = Architecture(SPACE.resolve([0, 0]))
    assert describe(made, "x") == (
        "Architecture of x:\n  1  tdnn-C1D1\n  2  deltas-O2\n  3  tdnn-C1D1"
    )
    # A layer changed by hand is not what the search preferred.
    changed = Architecture(SPACE.resolve([2, 1]), architecture(5, FLIPS[3]).provenance)
    assert "1  zero             0.200  tdnn-C12D2  0.500  -0.300" in describe(
        changed, "x"
    )


def test_damaged_file_of_an_earlier_epoch(make, derived):
    """It costs stability, not the architecture."""
    exp = make(*FLIPS)
    (exp / "architectures" / "3epoch.yaml").write_text("[")
    lines = derived(exp)
    assert lines[1].endswith("0.200")
    assert lines[4].startswith("note: no word on stability: architecture file ")
    assert len(lines) == 5


def test_warnings_stand_at_the_end(make, derived):
    still = (GONE[0], [0.45, 0.55])
    lines = derived(make(*[still] * 6))
    assert [line[:44] for line in lines[4:]] == [
        "warning: layer 1 collapsed early: after epoc",
        "warning: layer 3 has not moved from uniform:",
    ]


def test_how_long_the_search_was_meant_to_be_counts(make, derived):
    """The collapse is in epoch 3 of 4: late. Of 9, it is early."""
    exp = make(*FLIPS[:2], GONE, GONE)
    assert len(derived(exp)) == 4
    config = yaml.safe_load((exp / "config.yaml").read_text())
    (exp / "config.yaml").write_text(yaml.safe_dump({**config, "max_epoch": 10}))
    (warning,) = derived(exp)[4:]
    assert "after epoch 3 of 9 of the search" in warning
    # Older configurations may lack it.
    del config["max_epoch"], config["estimator"]
    (exp / "config.yaml").write_text(yaml.safe_dump(config))
    assert len(derived(exp)) == 4


def test_figures_of_a_search(make, tmp_path, capsys):
    stnas(["report", str(make(*FLIPS)), "--output", str(tmp_path)])
    names = [line.rsplit("/", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert names == [
        *("report.html", "probabilities.png", "certainty.png", "architecture.png")
    ]
    assert all((tmp_path / name).read_bytes()[1:4] == b"PNG" for name in names[1:])
