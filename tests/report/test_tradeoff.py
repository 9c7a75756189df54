"""Errors against cost, from experiments on disk."""

from __future__ import annotations

import pytest
import yaml

from espnet_stnas.bin import tradeoff
from espnet_stnas.cost.counts import macs_table, parameter_table
from espnet_stnas.report.tradeoff import Point, pareto_front, tradeoff_table
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.provenance import FoundCost, search_provenance
from tests.conftest import all_paths, tiny_space

SPACE = tiny_space(["tdnn-C1D1", "tdnn-C2D1"], ["tdnn-C1D1", "identity"])
TABLE = parameter_table(SPACE, 4)


def test_the_front_is_what_nothing_beats():
    points = [
        Point("cheap", 1, 20.0),
        Point("beaten", 3, 20.0),
        Point("middle", 2, 10.0),
        Point("twin", 2, 10.0),
        Point("dear", 9, 5.0),
        Point("worse", 9, 6.0),
    ]
    names = [p.name for p in pareto_front(points[::-1])]
    assert names == ["cheap", "twin", "middle", "dear"]
    assert pareto_front([]) == []


def test_table():
    table = tradeoff_table(
        [Point("a|b", 2000, 5, 0.1, 3000.0), Point("c", 1000, 6.5)], "parameters", "wer"
    )
    assert table.splitlines()[2:] == [
        "| c |  |  | 1,000 | 6.50 | yes |",
        "| a\\|b | 0.1 | 3,000 | 2,000 | 5.00 | yes |",
    ]


@pytest.fixture
def experiments(tmp_path):
    """Two searches, the trainings of what they found, and one more training."""
    for weight, path in ((0, (1, 0)), (1, (0, 0))):
        search = tmp_path / f"search{weight}"
        search.mkdir()
        config = {"encoder": "stnas", "encoder_conf": SPACE.to_conf()}
        (search / "config.yaml").write_text(
            yaml.safe_dump({**config, "warmup_epochs": 0})
        )
        provenance = search_provenance(
            SPACE,
            [[0.5, 0.5]] * 2,
            epoch=1,
            seed=0,
            searching=True,
            input_size=4,
            cost=FoundCost("params", TABLE.of(path), weight=weight),
        )
        Architecture(SPACE.resolve(path), provenance).write(
            search / "architectures" / "1epoch.yaml"
        )
        make_training(tmp_path / f"train{weight}", path, wer=10.0 * (1 + weight))
    make_training(tmp_path / "other", (1, 1), wer=30.0)
    return tmp_path


def make_training(training, path, wer) -> None:
    (training / "decode_test").mkdir(parents=True)
    conf = SPACE.resolve(path).to_conf()
    (training / "config.yaml").write_text(
        yaml.safe_dump({"encoder": "stnas", "encoder_conf": conf})
    )
    score = {"wer": wer, "cer": wer / 2}
    (training / "decode_test" / "score.yaml").write_text(yaml.safe_dump(score))


def run(root, *options: str) -> None:
    pairs = [f"{root}/search{w}={root}/train{w}" for w in (0, 1)]
    tradeoff.main([*pairs, *options, "--output_dir", str(root / "out")])


def test_table_and_figure_of_experiments(experiments, capsys):
    run(experiments, str(experiments / "other"), "--input_size", "4")
    costs = [f"{TABLE.of(path):,.0f}" for path in ((1, 1), (0, 0), (1, 0))]
    assert capsys.readouterr().out.splitlines()[2:] == [
        f"| other |  |  | {costs[0]} | 30.00 | yes |",
        f"| train1 | 1 |  | {costs[1]} | 20.00 | yes |",
        f"| train0 | 0 |  | {costs[2]} | 10.00 | yes |",
    ]
    assert sorted(p.name for p in (experiments / "out").iterdir()) == [
        "tradeoff.md",
        "tradeoff.png",
    ]


def test_other_kinds_and_errors(experiments, capsys):
    options = ("--kind", "macs", "--frames", "9", "--metric", "cer", "--format", "svg")
    run(experiments, *options)
    macs = macs_table(SPACE, 4, 9).of((1, 0))
    assert f"| train0 | 0 |  | {macs:,.0f} | 5.00 | yes |" in capsys.readouterr().out
    assert (experiments / "out" / "tradeoff.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["{0}/other"], "the params of .*/other are not known; give --input_size"),
        (["{0}/search0"], ".*search0 is a search; accepted is the training"),
        (
            ["{0}/search0={0}/train1"],
            ".*train1 was not trained with an architecture of",
        ),
        (["{0}/none"], "training config .*none/config.yaml does not exist"),
        (["{0}/search0={0}/train0", "--score_file", "x"], "score file .*does not exi"),
        (["--kind", "latency"], "the latency of .*train0 are not known; give"),
    ],
)
def test_what_is_refused(experiments, more, message):
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        run(experiments, *(m.format(experiments) for m in more))
    assert not (experiments / "out").exists()


def test_errors_that_are_no_numbers(experiments):
    (experiments / "train0" / "decode_test" / "score.yaml").write_text("wer: good")
    with pytest.raises(SystemExit, match="wer is 'good'; accepted is a number from 0"):
        run(experiments)
    (experiments / "train0" / "config.yaml").write_text("encoder: conformer")
    with pytest.raises(SystemExit, match="has the encoder 'conformer'; accepted is 's"):
        run(experiments)


def test_all_paths_have_points():
    points = [Point(str(p), TABLE.of(p), 1.0) for p in all_paths(SPACE)]
    assert [p.cost for p in pareto_front(points)] == [TABLE.minimum]
