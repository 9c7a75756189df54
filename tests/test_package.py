"""What is installed, and the files that tell others what this is."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path

import pytest
import yaml

from espnet_stnas.version import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture
def metadata(monkeypatch) -> dict:
    """What setup.py hands to setuptools."""
    setuptools = pytest.importorskip("setuptools")
    given: dict = {}
    monkeypatch.setattr(setuptools, "setup", given.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    return given


def test_types_and_licence_are_installed(metadata):
    """PEP 561: type checkers of others look at our annotations where py.typed is."""
    for package, patterns in metadata["package_data"].items():
        folder = ROOT / package.replace(".", os.sep)
        assert all(list(folder.glob(pattern)) for pattern in patterns), package
    assert "py.typed" in metadata["package_data"]["espnet_stnas"]
    package = ROOT / "espnet_stnas"
    patterns = metadata["package_data"]["espnet_stnas"]
    installed = {file for pattern in patterns for file in package.glob(pattern)}
    others = {p for p in package.rglob("*") if p.is_file() and "py" not in p.suffix}
    assert {p for p in others if "__pycache__" not in p.parts} <= installed
    assert "Typing :: Typed" in metadata["classifiers"]
    assert all((ROOT / name).is_file() for name in metadata["license_files"])
    first = (ROOT / "LICENSE").read_text(encoding="utf-8").split()[:4]
    assert first == ["Apache", "License", "Version", "2.0,"]
    assert metadata["license"] == "Apache-2.0"


def test_all_packages_are_installed(metadata):
    found = {p.parent for p in (ROOT / "espnet_stnas").rglob("*.py")}
    names = {".".join(p.relative_to(ROOT).parts) for p in found}
    assert set(metadata["packages"]) == names


def test_citation_and_changelog_are_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["license"] == "Apache-2.0"
    preferred = citation["preferred-citation"]
    names = [author["family-names"] for author in preferred["authors"]]
    assert names == ["Zheng", "An", "Ou"]
    assert "2011.05649" in preferred["url"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[([^\]]+)\]", changelog, re.MULTILINE)
    assert __version__ in versions[:2]


def test_pre_commit_runs_the_linters_of_lint_sh():
    """With the versions of setup.py: nothing is fetched."""
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    repos = yaml.safe_load(text)["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    hooks = repos[0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    lint = (ROOT / "tools" / "lint.sh").read_text(encoding="utf-8")
    for hook in hooks:
        command = hook["entry"].replace(" --force-exclude", "")
        assert command in lint, command
