"""What the documentation says can be done: links, commands, examples, messages."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest
import torch
import yaml

from espnet_stnas.cost.goal import CostOptions
from espnet_stnas.estimators import ESTIMATORS, build_estimator, option_names
from espnet_stnas.notation.families import FAMILIES
from espnet_stnas.notation.space import SearchSpace
from tests import commands, messages, pages
from tests.pages import PAGES, ROOT

DOCS = sorted((ROOT / "docs").glob("*.md"))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=page_id)


@every_page
def test_links_paths_and_modules_exist(page):
    text = read(page)
    assert pages.link_problems(page, text) + pages.path_problems(page, text) == []


@every_page
def test_commands_have_their_options(page):
    assert commands.command_problems(page, read(page)) == []


@every_page
def test_blocks_say_what_they_are(page):
    """Otherwise they would not be checked. Output has no language."""
    found = {block.language for block in pages.blocks(read(page))}
    assert found <= {"", "sh", "yaml", "python", "toml", "text"}


@every_page
def test_yaml_is_accepted(page):
    for block in pages.blocks(read(page)):
        if block.language == "yaml":
            check_yaml(yaml.safe_load(block.text))


def check_yaml(found: object) -> None:
    """Build what a YAML block describes: spaces, estimators, costs."""
    if not isinstance(found, dict):
        return
    for key, value in found.items():
        if key == "encoder_conf":
            SearchSpace.from_conf(value).shapes(80)
        elif key == "layers":
            SearchSpace.from_conf({"layers": value, "width": 64}).shapes(64)
            return
        elif key == "estimator_conf":
            build_estimator(found.get("estimator", "snas"), value)
        elif key == "cost_conf":
            CostOptions.from_conf(value)
        else:
            check_yaml(value)


@every_page
def test_python_is_python_and_runs(page, monkeypatch):
    """Examples that need nothing but torch and this package are run."""
    monkeypatch.chdir(ROOT)
    for block in pages.blocks(read(page)):
        if block.language == "python":
            run_python(block.text, page.name)


def run_python(text: str, name: str) -> None:
    tree = ast.parse(text)
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            roots.add(str(node.module).split(".")[0])
    # tests/test_extending.py runs that page's, as the files that they are.
    if name != "extending.md" and roots == {"torch", "espnet_stnas"}:
        exec(compile(tree, name, "exec"), {})


def test_readme_leads_to_every_page_and_pages_to_every_figure():
    targets = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in pages.links(read(page))
    }
    readme = {(ROOT / link).resolve() for link in pages.links(read(ROOT / "README.md"))}
    assert set(DOCS) <= readme
    assert set((ROOT / "docs" / "figures").iterdir()) <= targets


def test_numbers_of_readme_are_among_the_results():
    rates = re.findall(r"(\d+\.\d\d)(?= %| ±)", read(ROOT / "README.md"))
    results = re.findall(r"\d+\.\d\d", read(ROOT / "docs" / "results.md"))
    assert rates
    assert set(rates) <= set(results)


def test_asr_sh_has_the_options_that_pages_use():
    if "ESPNET_ROOT" not in os.environ:
        pytest.skip("needs an ESPnet checkout in ESPNET_ROOT")
    script = Path(os.environ["ESPNET_ROOT"], "egs2", "TEMPLATE", "asr1", "asr.sh")
    found = set(re.findall(r"^(\w+)=", read(script), re.MULTILINE))
    assert set(commands.ASR_SH) <= found


def test_notation_names_every_operation_and_option():
    text = read(ROOT / "docs" / "notation.md").partition("## Operations")[2]
    rows = re.findall(r"^\| (`[a-z].*?) \| (.*?) \|", text, re.MULTILINE)
    options = {
        op.partition("-")[0]: row
        for ops, row in rows
        for op in re.findall("`(.*?)`", ops)
    }
    assert set(options) == set(FAMILIES)
    for name, family in FAMILIES.items():
        for option in family.options:
            assert f"`{option.code}` {option.name}" in options[name], name


def test_searching_names_every_option_of_a_search():
    """Those that ESPnet's training lacks, and their defaults where they are values."""
    options = commands.task_parser("asr")._option_string_actions
    usual = commands.module_parser("espnet2.bin.asr_train")._option_string_actions
    text = read(ROOT / "docs" / "searching.md").partition("## Options")[2]
    rows = table_rows(text.partition("## What it writes")[0])[2:]
    named = {option: row for row in rows for option in re.findall(r"`(\w+)`", row[0])}
    new = {option.removeprefix("--") for option in options.keys() - usual.keys()}
    assert set(named) == new
    for option, row in named.items():
        default = options[f"--{option}"].default
        if not isinstance(default, (dict, type(None))):
            assert row[1].partition(",")[0].strip("`") == str(default), option


def test_guide_names_every_estimator_and_option():
    text = read(ROOT / "docs" / "estimators.md")
    table = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    options = {o for name in ESTIMATORS for o in _options(name)}
    headers = {"estimator", "estimator_conf"}
    assert set(table) - headers == set(ESTIMATORS) | options


def _options(name: str) -> list[str]:
    return option_names(type(build_estimator(name)))


# Rows of the short table of docs/estimators.md, and of the long ones.
GLANCE = {
    "`st`": ("st", "architecture step, st"),
    "`st`, `subgraph_size: 2`": ("st, N = 2", "architecture step, st, N = 2"),
    "`reinmax`": ("reinmax", "architecture step, reinmax"),
    "`gumbel_st`, tau 1": ("gumbel_st, temperature 1", None),
    "`proxyless`": ("proxyless", "architecture step, proxyless"),
    "`snas`, tau 1": ("snas, temperature 1", "architecture step, snas"),
    "`darts`": ("darts", "architecture step, darts"),
    "`uniform`": ("uniform", None),
}


def table_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


@pytest.mark.parametrize("name", GLANCE)
def test_short_table_of_estimators_has_the_numbers_of_the_long_ones(name):
    page = read(ROOT / "docs" / "estimators.md").partition("## At a glance")[2]
    short, _, long = page.partition("## Options")
    row = next(cells for cells in table_rows(short) if cells[0] == name)
    gradient, step = GLANCE[name]
    _, bias, _, deviation, _ = next(r for r in table_rows(long) if r[0] == gradient)
    numbers = [float(bias.partition(" ")[0]), float(deviation)]
    if step is not None:
        time, saved = [r for r in table_rows(long) if r[0] == step][:2]
        numbers += [float(n) for n in (time[2], time[4], saved[2], saved[4])]
    expected = [f"{number + 1e-9:.2f}" for number in numbers]
    assert row[1 : 1 + len(expected)] == expected


@pytest.mark.parametrize(
    "quoted", messages.quoted(read(ROOT / "docs/troubleshooting.md"))
)
def test_messages_of_troubleshooting_are_the_programs(quoted):
    assert messages.exists(quoted)


def test_espnet_says_what_troubleshooting_says():
    """Where the package is not registered."""
    from espnet2.train.class_choices import ClassChoices

    page = read(ROOT / "docs" / "troubleshooting.md")
    choices = ClassChoices("encoder", classes={"rnn": torch.nn.Module})
    assert "`--encoder must be one of (...): --encoder stnas`" in page
    with pytest.raises(
        ValueError, match=r"^--encoder must be one of \(.*\): --encoder"
    ):
        choices.get_class("stnas")


def test_figure_of_concepts_is_drawn(tmp_path):
    import runpy

    draw = runpy.run_path(str(ROOT / "tools" / "draw_concepts.py"))
    draw["main"](["--output", str(tmp_path / "concepts.svg")])
    text = (tmp_path / "concepts.svg").read_text(encoding="utf-8")
    assert text.count("<path") > 50
