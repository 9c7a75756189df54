"""What the page's script computes; ``tools/check_report.mjs`` tries it in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from espnet_stnas.report.chart import Chart, Panel, Spot
from espnet_stnas.report.curves import probability_chart
from tests.report.spaces import SPACE, points

SCRIPT = Path(__file__).parents[2] / "espnet_stnas" / "report" / "page.js"
pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


def run(program: str, **data: object):
    """The last value that a program prints, after the script."""
    start = "const document = { querySelectorAll: () => [] };\n"
    start += "".join(f"const {k} = {json.dumps(v)};\n" for k, v in data.items())
    done = subprocess.run(
        ["node", "-e", f"{start}{SCRIPT.read_text()}\n{program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_ticks_are_round_and_within():
    found = run(
        "console.log(JSON.stringify([ticksOf(0.13, 0.61), ticksOf(90100, 131000)]))"
    )
    assert found[0] == pytest.approx([0.2, 0.4, 0.6])
    assert found[1] == [100000, 120000]


def drawing(axis) -> None:
    axis.set_xlim(0, 10)
    axis.set_ylim(1, 100)
    axis.set_yscale("log")


def test_points_have_places_and_words():
    spots = [
        Spot(5, 10, "a name"),
        Spot(10, 100, [[1, 0], 12.5]),
        Spot(0, 1, [[0, 1], None]),
    ]
    chart = Chart([Panel(drawing, "", spots)], names=[["a", "b"], ["c", "d"]])
    data = chart.on_page("test")["data"]
    found = run(
        "console.log(JSON.stringify(pointsOf(null, data.panels[0], data, {})"
        ".map(([x, y, text]) => [x, y, text()])))",
        data=data,
    )
    left, top, right, bottom = data["panels"][0]["box"]
    assert [text for _, _, text in found] == [
        "a name",
        "b c\n10 parameters, loss 100\ntoken errors 12.5 %",
        "a d\n0 parameters, loss 1",
    ]
    assert found[0][:2] == pytest.approx([(left + right) / 2, (top + bottom) / 2])
    assert found[1][:2] == pytest.approx([right, top])
    assert found[2][:2] == pytest.approx([left, bottom])


def test_curves_say_their_values():
    """Read from the lines of the figure, which are the only data in the page."""
    chart = probability_chart(SPACE, points())
    made = chart.on_page("test")
    svg = made["panels"][0]
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()
    lines = re.findall(r'data-k="(\d)">\s*<path d="([^"]*)"', svg)
    assert [k for k, _ in lines] == ["0", "1"]
    found = run(
        "const svg = { querySelectorAll: () => lines.map(([k, d]) => ({ style: {}, "
        "dataset: { k }, children: [{ tagName: 'path', dataset: {}, "
        "getAttribute: () => d }] })) };\n"
        f"const whole = {{ width: {width}, height: {height} }};\n"
        "console.log(JSON.stringify(pointsOf(svg, data.panels[0], data, whole)"
        ".map((point) => point[2]())))",
        data=made["data"],
        lines=lines,
    )
    said = [re.fullmatch(r"(\S+): (\S+)\nepoch (\S+)", text).groups() for text in found]
    ours = {float(x): float(p) for name, p, x in said if name == "tdnn-C1D1"}
    for at, p in ((0.5, 0.1), (2.0, 0.2), (3.0, 0.3)):
        near = min(ours, key=lambda x: abs(x - at))
        assert (near, ours[near]) == pytest.approx((at, p), abs=0.01)


def test_a_part_becomes_the_whole():
    panel = {"box": [0.1, 0.1, 0.9, 0.9], "x": [0, 1], "y": [0, 1], "log": False}
    found = run(
        "const svg = { viewBox: { baseVal: { width: 200, height: 100 } }, "
        "querySelectorAll: () => [] };\n"
        "const view = new View(svg, panel);\n"
        "const before = view.to(60, 30);\n"
        "view.show([60, 30, 100, 50]);\n"
        "console.log(JSON.stringify([before, view.to(60, 30), view.to(100, 50), "
        "view.from(...view.to(70, 33)), view.has(80, 40), view.has(50, 40)]))",
        panel=panel,
    )
    corners = [[60, 30], [20, 10], [180, 90], [70, 33]]
    for place, expected in zip(found, corners, strict=False):
        assert place == pytest.approx(expected)
    assert found[4:] == [True, False]
