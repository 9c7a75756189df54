from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml
from plotly.offline import get_plotlyjs

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.report.costs import points_of
from espnet_stnas.report.page import figures_of, report_page, tradeoff_charts
from espnet_stnas.report.summary import summarise
from espnet_stnas.report.trainings import Sizes, open_training, short_names
from espnet_stnas.results.curves import note_run
from tests.report.spaces import experiment, history


class Page(HTMLParser):
    """Checks that tags are closed in order; collects what a browser would fetch."""

    VOID = {"meta", "br", "link", "img", "hr"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.text = ""
        self.feed(text.replace(get_plotlyjs(), ""))
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key in ("src", "href", "xlink:href") and not value.startswith("#"):
                self.fetched.append(value)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text = f"{self.text} {' '.join(data.split())}"


def without_plotly(page: str) -> str:
    """All that is ours."""
    assert page.count(get_plotlyjs()) == 1
    return page.replace(get_plotlyjs(), "")


def run(*options: object, capsys) -> list[str]:
    stnas(["report", *map(str, options)])
    return capsys.readouterr().out.splitlines()


def test_page_of_one_search(tmp_path, capsys):
    exp = experiment(tmp_path / "exp" / "search")
    note_run(exp, started="2026-01-02 03:04:05", device="a <device>", command=["a b"])
    files = run(exp, capsys=capsys)
    assert files[0] == f"{exp}/report/report.html"
    assert [f.rsplit("/", 1)[1] for f in files[1:]] == [
        *("probabilities.png", "certainty.png", "losses.png", "architecture.png")
    ]
    text = (exp / "report" / "report.html").read_text()
    page = Page(text)
    assert page.fetched == []
    text = without_plotly(text)
    assert "url(http" not in text and "@import" not in text
    assert text.count('<svg role="img"') == 4 + 2 + 1 + 1
    for part in (
        "Search exp/search",
        "3 of 4 epochs done",
        "36 architectures",
        "a <device>",
        "'a b'",
        "seed",
        "tdnn-C2D2",
        "39 frames",
    ):
        assert part in page.text, part


def test_parameters_are_those_of_the_encoder(tmp_path, capsys):
    from espnet_stnas.network.network import build_network

    exp = experiment(tmp_path / "exp")
    run(exp, capsys=capsys)
    network = build_network(history()[-1].space, 40)
    count = sum(p.numel() for p in network.parameters())
    text = Page((exp / "report" / "report.html").read_text()).text
    assert f"parameters of the encoder {count:,}" in " ".join(text.split())


def test_searches_and_trainings_side_by_side(tmp_path, capsys):
    one = experiment(tmp_path / "one")
    two = experiment(tmp_path / "two", curves=False, estimator="gumbel_st")
    training = tmp_path / "train_a"
    (training / "decode" / "test").mkdir(parents=True)
    (training / "config.yaml").write_text("encoder: conformer\n")
    (training / "decode" / "test" / "score.yaml").write_text("wer: 12.3\ncer: 4.0\n")
    out = tmp_path / "out"
    files = run(one, two, training, "--output", out, "--format=svg", capsys=capsys)
    assert f"{out}/search1/losses.svg" in files
    assert f"{out}/search2/losses.svg" not in files  # it has no curves
    page = Page((out / "report.html").read_text())
    words = " ".join(page.text.split())
    assert "Side by side" in words and "gumbel_st" in words
    assert "train_a conformer decode/test 12.30 4.00" in words
    assert page.text.count("finished") == 0


def labels(figure) -> list[str]:
    """Those of the legend, without the first."""
    first, *others = (text.get_text() for text in figure.legends[0].texts)
    assert first == "Pareto front"
    return others


def test_errors_against_parameters(tmp_path, capsys):
    search = experiment(tmp_path / "search")
    conf = {"encoder": "stnas", "encoder_conf": history()[-1].space.to_conf()}
    trainings = []
    for place, wer in (("a/derived", 20.0), ("b/derived", 30.0), ("c", None)):
        trainings.append(tmp_path / place)
        (trainings[-1] / "decode" / "test").mkdir(parents=True)
        (trainings[-1] / "config.yaml").write_text(yaml.safe_dump(conf))
        score = trainings[-1] / "decode" / "test" / "score.yaml"
        score.write_text(yaml.safe_dump({"cer": 1.0} if wer is None else {"wer": wer}))
    names = short_names(trainings)
    opened = [
        open_training(t, Sizes(size, 2 * size, 40), name)
        for t, size, name in zip(trainings, (1000, 2000, 3000), names, strict=True)
    ]
    summary = summarise(search)
    points = points_of([summary], opened)
    assert set(points) == {("decode/test", "params"), ("decode/test", "macs")}
    figure = tradeoff_charts(points)["decode/test", "params"].figure()
    assert labels(figure) == ["searched", "1  a/derived", "2  b/derived"]
    conformer = replace(opened[0], space=None, encoder="conformer")
    (chart,) = tradeoff_charts(points_of([summary], [conformer, opened[1]])).values()
    assert labels(chart.figure())[:2] == ["searched", "others"]
    assert points_of([summary], opened[1:]) == {}
    figures = {("decode/test", "params"): chart}
    page = Page(report_page([(summary, figures_of(summary))], opened, figures))
    assert "Errors on decode/test against parameters of the encoder" in page.text
    # The configurations have no more than an encoder: sizes are not known.
    files = run(search, *trainings, capsys=capsys)
    assert not any("/errors_" in file for file in files)
    assert "Errors on" not in (search / "report" / "report.html").read_text()


def test_the_figure_of_errors_is_a_file_too(tmp_path, capsys, monkeypatch):
    search = experiment(tmp_path / "search")
    for number in (1, 2):
        training = tmp_path / f"train{number}"
        (training / "decode" / "test").mkdir(parents=True)
        (training / "config.yaml").write_text("encoder: conformer\n")
        (training / "decode" / "test" / "score.yaml").write_text(f"wer: {number}\n")
    monkeypatch.setattr(
        "espnet_stnas.report.speed.model_sizes", lambda path: Sizes(1000, 1500, 40)
    )
    lines = run(search, tmp_path / "train1", tmp_path / "train2", capsys=capsys)
    assert f"{search}/report/errors_decode_test_params.png" in lines
    text = (search / "report" / "report.html").read_text()
    assert text.count('<svg role="img"') == 8 + 1
    words = " ".join(Page(text).text.split())
    assert "train1 conformer 1,000 1,500 decode/test 1.00" in words


def test_figures_of_equal_data_are_equal_bytes(tmp_path, capsys):
    """In every format, and inside of the page."""
    exp = experiment(tmp_path / "exp")
    for suffix in ("png", "svg", "pdf"):
        found = []
        for number in (1, 2):
            out = tmp_path / f"{suffix}{number}"
            run(exp, "--output", out, "--format", suffix, capsys=capsys)
            files = sorted(out.glob(f"*.{suffix}"))
            assert len(files) == 4
            page = (out / "report.html").read_text()
            svgs = re.findall("<svg.*?</svg>", page, re.S)
            found.append(([file.read_bytes() for file in files], svgs))
        assert found[0] == found[1]


def test_names_tell_directories_apart():
    names = short_names(["/x/a/train", "/x/b/train", "/x/c", "/y/b/train"])
    assert names == ["a/train", "x/b/train", "c", "y/b/train"]
    assert short_names(["/same", "/same"]) == ["//same", "//same"]
    assert short_names([]) == []


def test_an_architecture_that_was_derived(tmp_path, capsys):
    exp = experiment(tmp_path / "exp")
    history(2)[-1].write(tmp_path / "a.yaml")
    run(exp, "--arch", tmp_path / "a.yaml", capsys=capsys)
    text = Page((exp / "report" / "report.html").read_text()).text
    assert "after epoch 2" in text


def test_a_search_in_its_first_epoch(tmp_path, capsys):
    exp = experiment(tmp_path / "exp", epochs=0)
    with pytest.raises(SystemExit, match="the search has not finished an epoch yet"):
        run(exp, capsys=capsys)


def test_lines_that_are_being_written(tmp_path, capsys):
    exp = experiment(tmp_path / "exp")
    with open(exp / "curves" / "3epoch.jsonl", "a") as file:
        file.write('{"epoch": 3, "step": 1')
    assert run(exp, capsys=capsys)


def test_moments_of_another_space_are_left_out(tmp_path, capsys):
    exp = experiment(tmp_path / "exp")
    line = {"epoch": 3, "step": 9, "steps": 10, "warmup": False}
    with open(exp / "curves" / "3epoch.jsonl", "a") as file:
        file.write(json.dumps({**line, "probabilities": [[0.5, 0.5]]}) + "\n")
    assert run(exp, capsys=capsys)


def test_names_cannot_break_out_of_the_page(tmp_path, capsys):
    exp = experiment(tmp_path / "<script>alert(1)<&")
    run(exp, capsys=capsys)
    text = (exp / "report" / "report.html").read_text()
    assert "<script>alert" not in text
    assert "<script>alert(1)<&" in Page(text).text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["{training}", "--arch=a"], "arch is given for 0 searches; accepted is one"),
        (["{one}", "--data=a"], "data is given, and no training, whose speed"),
        (["{one}", "{two}"], "output is missing; it is needed for several"),
        (
            ["{one}", "{two}", "--output={out}", "--arch=a"],
            "arch is given for 2 searches; accepted is one search",
        ),
        (["{one}/config.yaml"], "is no directory; accepted is that of a search"),
        (
            ["{one}", "--arch={one}/config.yaml"],
            "architecture file .* is a search space: ",
        ),
        (["{one}", "--arch={other}"], "is not of the search .*layers"),
    ],
)
def test_bad_input(tmp_path, capsys, options, sentence):
    places = {name: tmp_path / name for name in ("one", "two", "training", "out")}
    experiment(places["one"])
    experiment(places["two"])
    places["training"].mkdir()
    (places["training"] / "config.yaml").write_text("encoder: rnn\n")
    places["other"] = tmp_path / "other.yaml"
    made = history()[-1]
    data = {"format": 1, "encoder": "stnas", "provenance": {}}
    conf = {**made.space.to_conf(), "layers": ["tdnn"]}
    places["other"].write_text(yaml.safe_dump({**data, "encoder_conf": conf}))
    with pytest.raises(SystemExit, match=f"^error: .*{sentence}"):
        stnas(["report", *(option.format(**places) for option in options)])
    assert not places["out"].exists()


SCLITE = """
|    SPKR    |  # Snt   # Wrd  |  Corr     Sub     Del     Ins     Err   S.Err  |
|    Sum/Avg |   333    5643   |  92.1     6.8     1.1     1.3     9.2    64.0  |
"""


def test_scores_of_asr_sh(tmp_path):
    place = tmp_path / "decode_x" / "test_eval92"
    for kind in ("wer", "cer"):
        (place / f"score_{kind}").mkdir(parents=True)
    (place / "score_wer" / "result.txt").write_text(SCLITE)
    (place / "score_cer" / "result.txt").write_text("not finished")
    (tmp_path / "config.yaml").write_text("encoder: stnas\n")
    (score,) = open_training(tmp_path).scores
    assert (score.test, score.wer, score.cer) == ("decode_x/test_eval92", 9.2, None)


def test_damaged_score(tmp_path):
    (tmp_path / "config.yaml").write_text("encoder: stnas\n")
    (tmp_path / "score.yaml").write_text("wer: much\n")
    with pytest.raises(ConfigError, match=re.escape("wer is 'much'; accepted is a")):
        open_training(tmp_path)
