"""What the documentation says can be done: links, commands, examples, messages."""

from __future__ import annotations

import os
import pkgutil
import re
from pathlib import Path

import pytest
import torch

from espnet_stnas.estimators import ESTIMATORS, build_estimator, option_names
from espnet_stnas.notation.families import FAMILIES
from tests import commands, messages
from tests.commands import ROOT

DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = sorted([*ROOT.glob("*.md"), *DOCS, *ROOT.glob("egs2/*/*/README.md")])
FENCE = re.compile(r"^( *)```(\w*)\n.*?^\1```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)
# Paths of this repository; those of ESPnet's tools are its own.
PATH = re.compile(
    r"(?<![\w/}.-])(?<!\]\()((?:benchmarks|examples|tools(?!/installers|/sctk)|tests"
    r"|docs|espnet_stnas|conf/space|conf/architecture)/[\w./-]*[\w/])"
)
MODULE = re.compile(r"\bespnet_stnas(?:\.[A-Za-z_]\w*)+")


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def spans(page: Path) -> list[str]:
    """The code inside of lines; one that is broken over two lines is joined."""
    prose = COMMENT.sub("", FENCE.sub("", read(page)))
    return [" ".join(text.split()) for text in re.findall(r"`([^`]+)`", prose)]


def links(page: Path) -> set[Path]:
    """The files that a page links to."""
    found = re.findall(r"\]\(([^)\s#:]+)[)#]", FENCE.sub("", read(page)))
    return {(page.parent / name).resolve() for name in found}


every_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)


@every_page
def test_paths_and_modules_exist(page):
    for name in PATH.findall(read(page)):
        assert (ROOT / name).exists() or (page.parent / name).exists(), name
    for name in MODULE.findall(read(page)):
        # Not every ESPnet has espnet3; tests/espnet3 trains with the page's example.
        if not name.startswith("espnet_stnas.espnet3."):
            pkgutil.resolve_name(name)


@every_page
def test_blocks_say_what_they_are(page):
    """Otherwise conftest.py would not run them. Output has no language."""
    found = {language for _, language in FENCE.findall(read(page))}
    assert found <= {"", "sh", "yaml", "python", "toml", "text"}


@every_page
def test_commands_in_lines_and_comments(page):
    """Tables are made by commands that stand before them in a comment."""
    for comment in COMMENT.findall(FENCE.sub("", read(page))):
        if not comment.strip().startswith("skip:"):
            commands.check_commands(" ".join(comment.split()), page.parent)
    for span in spans(page):
        if re.match(r"--\w", span):
            assert commands.options_of(span.split())[0] in commands.known_options()
        elif re.search(r"\s--?\w", span) and span.count("'") % 2 == 0:
            commands.check_commands(f"{span} ...", page.parent)


@every_page
def test_nothing_waits_to_be_filled_in(page):
    """Such as TABLE, where a table was to stand."""
    assert not re.findall(r"^[A-Z0-9]{3,}$", FENCE.sub("", read(page)), re.MULTILINE)


def test_readme_leads_to_every_page_and_pages_to_every_figure():
    assert set(DOCS) <= links(ROOT / "README.md")
    assert set((ROOT / "docs" / "figures").iterdir()) <= set().union(*map(links, PAGES))


def test_numbers_of_readme_are_among_the_results():
    """With their intervals."""
    number = r"\d+\.\d+(?: ± \d+\.\d+|(?= %))"
    rates = re.findall(number, read(ROOT / "README.md"))
    pages = [read(ROOT / "docs" / f"{name}.md") for name in ("results", "ranking")]
    assert rates
    assert set(rates) <= set(re.findall(number, "".join(pages)))


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
    options = commands.parser_of("search asr")._option_string_actions
    usual = commands.parser_of("espnet2.bin.asr_train")._option_string_actions
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
    long += read(ROOT / "docs" / "step_costs.md")
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
