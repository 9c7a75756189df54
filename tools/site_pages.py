"""A hook of mkdocs: pages of the site that are not in docs/.

The front page is README.md, recipes have their READMEs, and the API reference lists
what ``import espnet_stnas`` offers. Links to other files of the repository lead to
copies of them.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

import jupytext
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# Pages by what they are made of.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
_LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add pages and copies."""
    copies: dict[str, str] = {}
    sources = {ROOT / name: place for name, place in PAGES.items()}
    sources |= {
        path: f"recipes_{path.parts[-3]}.md"
        for path in ROOT.glob("egs2/*/*/README.md")
        if not path.parent.is_symlink()
    }
    notebooks = sorted((ROOT / "docs" / "tutorial").glob("*.py"))
    sources |= {path: f"tutorial/{path.stem}.md" for path in notebooks}
    moved = {path.resolve(): place for path, place in sources.items()}
    pages = {place: (path, _text(path)) for path, place in sources.items()}
    for file in list(files):
        if file.src_uri.startswith("tutorial/"):
            files.remove(file)
        if file.src_uri.endswith(".md"):
            path = Path(file.abs_src_path)
            pages[file.src_uri] = path, path.read_text("utf-8")
            files.remove(file)
    for place, (path, text) in pages.items():

        def target(match: re.Match[str], path: Path = path, place: str = place) -> str:
            link, anchor = match[1], match[2] or ""
            found = (path.parent / link).resolve()
            if "://" in link or not found.exists():
                return match[0]
            docs = ROOT / "docs"
            if found in moved:
                other = moved[found]
            elif found.is_relative_to(docs):
                other = str(found.relative_to(docs))
            elif found.is_file():
                # As text, which browsers show.
                other = f"files/{found.relative_to(ROOT)}.txt"
                copies[other] = found.read_text("utf-8")
            else:
                return match[0]
            return f"]({os.path.relpath(other, Path(place).parent)}{anchor})"

        content = _LINK.sub(target, text)
        files.append(File.generated(config, place, content=content))
    for place, content in copies.items():
        files.append(File.generated(config, place, content=content))
    files.append(File.generated(config, "api.md", content=_api()))
    return files


def _text(path: Path) -> str:
    """Return the Markdown of a page; notebooks are kept as scripts."""
    if path.suffix == ".md":
        return path.read_text("utf-8")
    notebook = jupytext.read(path)
    # What Jupyter wants to know is not for readers.
    notebook.metadata.clear()
    text: str = jupytext.writes(notebook, fmt="md")
    return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)


def _api() -> str:
    """Return the page with all that the package offers."""
    tree = ast.parse((ROOT / "espnet_stnas" / "__init__.py").read_text("utf-8"))
    modules = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "_MODULES"
    )
    lines = ["# Python reference", "", "What `import espnet_stnas` offers.", ""]
    for name, module in modules.items():
        lines += [f"::: espnet_stnas.{module}.{name}", ""]
    return "\n".join(lines)
