"""Links and commands in the documentation lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from espnet_stnas.estimators import ESTIMATORS, build_estimator, option_names

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("egs2/*/*/README.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_scripts_exist(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    scripts = re.findall(r"\b((?:benchmarks|tools)/[\w./-]+\.\w+)", text)
    for link in links:
        assert (page.parent / link).exists(), link
    for script in scripts:
        assert (ROOT / script).exists() or (page.parent / script).exists(), script


def test_guide_names_every_estimator_and_option():
    """And its YAML examples are accepted."""
    text = (ROOT / "docs" / "estimators.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    options = {o for name in ESTIMATORS for o in _options(name)}
    headers = {"estimator", "estimator_conf"}
    assert set(table) - headers == set(ESTIMATORS) | options
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        conf = yaml.safe_load(block)
        build_estimator(conf.get("estimator", "snas"), conf["estimator_conf"])


def _options(name: str) -> list[str]:
    return option_names(type(build_estimator(name)))
