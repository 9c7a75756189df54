"""The page is for all readers: with and without eyes, scripts, network, light."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.report.drawing import COLOURS
from espnet_stnas.report.looks import looks_of
from espnet_stnas.report.svg import figure_svg, swatch
from espnet_stnas.selection.evaluation import Evaluation
from espnet_stnas.selection.log import Conditions, EvaluationLog
from espnet_stnas.selection.paths import all_paths
from tests.report.spaces import SPACE, experiment
from tests.report.test_page import without_plotly

REPORT = Path(__file__).parents[2] / "espnet_stnas" / "report"


class Reader(HTMLParser):
    """Collects elements with their attributes, and the texts of figures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.labels: list[str] = []
        self.stack: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        while self.stack.pop() != tag:
            pass

    def handle_data(self, data):
        if self.stack and self.stack[-1] == "text":
            self.labels.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """Of two searches with evaluations."""
    root = tmp_path_factory.mktemp("report")
    one = experiment(root / "one" / "search")
    two = experiment(root / "two" / "search", estimator="gumbel_st")
    log = EvaluationLog(one / "evaluations" / "valid.csv", SPACE)
    results = {p: Evaluation(9.0 - sum(p), 0.25) for p in all_paths(SPACE)}
    log.append(Conditions(3, "weights", "data", 0), results)
    stnas(["report", str(one), str(two), "--output", str(root / "out")])
    return (root / "out" / "report.html").read_text()


@pytest.fixture(scope="module")
def reader(page) -> Reader:
    return Reader(page)


def test_figures_are_described(reader):
    pictures = [svg for svg in reader.all("svg") if svg.get("aria-hidden") != "true"]
    assert len(pictures) == 2 * (4 + 2 + 1 + 1) + 1 + 2
    for svg in pictures:
        assert svg["role"] == "img" and len(svg["aria-label"]) > 20, svg
    found = [svg["aria-label"] for svg in pictures]
    end = "At the end: tdnn-C2D2 0.70, tdnn-C1D1 0.30."
    assert f"Probabilities of layer 2 over 3 epochs. {end}" in found


def test_text_in_figures_is_text(reader):
    labels = set(reader.labels)
    assert {"probability", "layer 2", "relative entropy", "input", "output"} <= labels
    assert "loss on 'valid' with shared weights" in labels


def test_nothing_comes_from_elsewhere(page, reader):
    """Neither files nor servers; names of formats are no addresses.

    Plotly has addresses of maps, which nothing here needs: tools/check_report.mjs sees
    that nothing is fetched.
    """
    names = {attrs["xmlns"] for attrs in reader.all("svg") if "xmlns" in attrs}
    names |= {a["xmlns:xlink"] for a in reader.all("svg") if "xmlns:xlink" in a}
    # Pictures in the page, and comments of its script.
    text = re.sub(r'"data:[^"]*"|(?<=\s)// [^\n]*', "", without_plotly(page))
    for name in names:
        text = text.replace(f'"{name}"', "")
    assert not re.search(r"https?:|//|@import|<link|\bsrc=", text)
    assert {a for a in names if not a.startswith("http://www.w3.org/")} == set()


def test_names_of_shapes_are_used_once(reader):
    ids = [attrs["id"] for _, attrs in reader.elements if "id" in attrs]
    assert len(ids) > 20 and len(set(ids)) == len(ids)
    used = {
        value.lstrip("url(#").rstrip(")")
        for _, attrs in reader.elements
        for key, value in attrs.items()
        if key in ("href", "xlink:href", "clip-path") and "#" in (value or "")
    }
    assert used <= set(ids)


def test_colours_are_those_of_the_scheme(page):
    """So that figures can be seen in the dark."""
    for svg in re.findall("<svg.*?</svg>", page, re.S):
        shapes = re.sub(r'xlink:href="data:[^"]*"', "", svg)
        assert not re.search(r"#[0-9a-fA-F]{6}\b(?!\w)", re.sub(r'"#\w+"', "", shapes))
    css = (REPORT / "page.css").read_text()
    light, dark = css.split("@media (prefers-color-scheme: dark)", 1)
    dark = dark.split("} }", 1)[0]
    used = set(re.findall(r"var\((--[\w]+)\)", page)) - {"--font"}
    for scheme in (light, dark):
        assert used <= set(re.findall(r"(--\w+): #", scheme))


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_colours_can_be_seen():
    """Contrasts of WCAG 2.2: 3 for shapes, 4.5 for text."""
    css = (REPORT / "page.css").read_text()
    for scheme in css.split("@media (prefers-color-scheme: dark)", 1):
        values = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", scheme.split("} }")[0]))
        least = {f"c{n}": 3.0 for n in range(len(COLOURS))} | {"line": 3.0}
        least |= dict.fromkeys(("ink", "soft", "link", "good", "doubtful", "open"), 4.5)
        for ground in ("paper", "card"):
            for name, bound in least.items():
                pair = sorted(luminance(values[n]) for n in (name, ground))
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= bound, (name, ground)


def test_an_operation_looks_the_same_everywhere(page):
    """In legends, tables, curves and graphs."""
    looks = looks_of([SPACE])
    assert len(set(looks.values())) == len(looks) == 4
    for name, number in looks.items():
        mark = swatch(number)
        # Table, and both legends.
        assert f'<span class="op">{mark}{name}</span>' in page
        assert page.count(f"{mark}{name}</li>") == 2
        colour = f"var(--c{number})"
        assert colour in mark
        lines = [
            trace["line"]["color"]
            for data in re.findall('<script type="appl.*?>(.*?)</script>', page)
            for panel in json.loads(data)
            for trace in panel["data"]
            if trace["name"] == name
        ]
        assert lines and set(lines) == {colour}
    (graph, _) = re.findall(r'<svg role="img" aria-label="Graph.*?</svg>', page, re.S)
    # What the searches chose.
    ops = [c.candidates[k] for c, k in zip(SPACE.choices, (1, 0, 1, 2), strict=True)]
    chosen = {looks[str(op)] for op in ops}
    edges = re.findall(r"stroke: var\(--c(\d)\); stroke-width: 1.8", graph)
    marks = re.findall(r"fill: var\(--c(\d)\)", graph)
    assert set(map(int, edges)) == set(map(int, marks)) == chosen


def test_searches_are_told_apart(page, reader):
    """By names that differ; what differs has a sign, not only a colour."""
    assert "one/search" in page and "two/search" in page
    differing = re.findall(r'<tr class="differs"><th scope="row">([^<]*)', page)
    assert differing == ["estimator"]


def test_figures_are_whole_without_scripts(page):
    """Scripts add nothing that is not seen without them."""
    static = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert static.count('<svg role="img"') == page.count('<svg role="img"')
    body = static.split("<body>", 1)[1]
    assert not re.search(r"<button|hidden(?!=)|display: ?none;? *\"", body)
    assert not re.search(r"\son\w+=", static)


def test_a_description_cannot_break_out():
    from matplotlib.figure import Figure

    svg = figure_svg(Figure(), "a", '"><script>')
    assert 'aria-label="&quot;&gt;&lt;script&gt;"' in svg
