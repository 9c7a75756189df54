"""What is installed, and the files that tell others what this is."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

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


def test_wheels_have_the_recipe_of_the_demo(tmp_path):
    """As it is tracked, without what it has made in this checkout."""
    recipe = ROOT / "egs2" / "digits" / "asr_stnas1"
    words = ["setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "lib")]
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True)
    demo = tmp_path / "lib" / "espnet_stnas" / "demo"
    built = {p.relative_to(demo) for p in demo.rglob("*") if p.is_file()}
    known = {p for p in built if (recipe / p).read_bytes() == (demo / p).read_bytes()}
    assert Path("run.sh") in built and built == known
    assert {p.parts[0] for p in built} == {"README.md", "conf", "local", *SCRIPTS}


SCRIPTS = ("path.sh", "run.sh")


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


# Import names of distributions that are called otherwise.
DISTRIBUTIONS = {
    "espeakng_loader": "espeakng-loader",
    "espnet2": "espnet",
    "espnet3": "espnet",
    "flashlight": "flashlight-text",
    "yaml": "pyyaml",
}
# Taken where somebody has it.
OPTIONAL = {"wandb"}


def imported(root: Path) -> dict[str, str]:
    """Top-level packages that Python files and shell scripts of a folder import."""
    found = {}
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            found.update((name.split(".")[0], str(path)) for name in names)
    for path in root.rglob("*.sh"):
        for names in re.findall(r'-c "import ([^"]+)"', path.read_text()):
            words = [n for n in names.split(", ") if "$" not in n]
            found.update((name.split(".")[0], str(path)) for name in words)
    return found


def test_what_is_imported_is_required(metadata):
    """By name, not only by what others require today."""
    extras = metadata["extras_require"]
    lines = [*metadata["install_requires"], *extras["demo"], *extras["decode"]]
    lines += extras["export"] + extras["espnet3"]
    required = {re.match(r"[\w.-]+", line)[0].lower() for line in lines}
    # Imported by ESPnet's programs, which recipes and our commands call.
    assert {"espnet", "torch", "sentencepiece", "configargparse", "kaldiio"} <= required
    own = {"espnet_stnas", *sys.stdlib_module_names, *OPTIONAL}
    own |= {p.stem for p in (ROOT / "egs2").glob("*/*/local/*")}
    found = imported(ROOT / "espnet_stnas") | imported(ROOT / "egs2")
    assert {"torch", "yaml", "kaldiio", "scipy"} <= found.keys()
    missing = {
        f"{DISTRIBUTIONS.get(name, name)} ({place})"
        for name, place in found.items()
        if name not in own and DISTRIBUTIONS.get(name, name).lower() not in required
    }
    assert not missing


@pytest.mark.parametrize("package", ["torch", "torchaudio"])
@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_pip_is_told_which_torch_the_old_espnet_takes(metadata, package, python):
    """pip would load several releases to find out: 2.12 and later do not fit."""
    requirements = map(Requirement, metadata["install_requires"])
    specifiers = [
        r.specifier
        for r in requirements
        if r.name == package
        and (r.marker is None or r.marker.evaluate({"python_version": python}))
    ]
    assert len(specifiers) == 1
    assert specifiers[0].contains("2.11.0")
    assert specifiers[0].contains("2.14.1") == (python in ("3.12", "3.13"))
