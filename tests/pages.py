"""Markdown pages: their parts, and what is wrong with their links and paths."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("egs2/*/*/README.md")]
)

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
# Paths of this repository; those of ESPnet's tools are its own.
_PATH = re.compile(
    r"(?<![\w/}.-])((?:benchmarks|tools|tests|docs|espnet_stnas|conf/space"
    r"|conf/architecture)/[\w./-]*[\w/])"
)
_ESPNETS = ("tools/installers", "tools/sctk")
_MODULE = re.compile(r"\bespnet_stnas((?:\.[A-Za-z_]\w*)+)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        language: What stands behind the fence.
        text: Its lines, without the indentation of the fence.
    """

    language: str
    text: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page."""
    return [
        Block(language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE))
        for indent, language, text in _FENCE.findall(page)
    ]


def prose(page: str) -> str:
    """A page without its fenced blocks and comments."""
    return _COMMENT.sub("", _FENCE.sub("", page))


def comments(page: str) -> list[str]:
    """The HTML comments of a page, which name the commands of tables."""
    return [" ".join(text.split()) for text in _COMMENT.findall(_FENCE.sub("", page))]


def spans(page: str) -> list[str]:
    """The code inside of lines; one that is broken over two lines is joined."""
    return [" ".join(text.split()) for text in _SPAN.findall(prose(page))]


def anchors(page: str) -> set[str]:
    """The anchors of headings, as GitHub makes them."""
    found: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-")
        names.add(f"{slug}-{found[slug]}" if found[slug] else slug)
        found[slug] += 1
    return names


def links(page: str) -> list[str]:
    """The targets of all links and pictures."""
    return _LINK.findall(_SPAN.sub("", prose(page)))


def link_problems(path: Path, page: str) -> list[str]:
    """Links to files or headings that are not there.

    Args:
        path: Where the page is.
        page: Its text.
    """
    problems = []
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or ROOT not in target.resolve().parents:
            problems.append(f"there is no {link}")
        elif anchor:
            text = page if target == path else target.read_text(encoding="utf-8")
            if anchor not in anchors(text):
                problems.append(f"no heading makes {link}")
    return problems


def path_problems(path: Path, page: str) -> list[str]:
    """Files and modules of this repository that are named and are not there.

    Args:
        path: Where the page is.
        page: Its text.
    """
    problems = []
    for name in _PATH.findall(_LINK.sub("]()", page)):
        places = (ROOT / name, path.parent / name)
        if not name.startswith(_ESPNETS) and not any(p.exists() for p in places):
            problems.append(f"there is no {name}")
    for dotted in _MODULE.findall(page):
        if not _has_module(dotted[1:].split(".")):
            problems.append(f"there is no espnet_stnas{dotted}")
    return problems


def _has_module(parts: list[str]) -> bool:
    """Whether names lead to a module, or to something that is defined in one."""
    place = ROOT / "espnet_stnas"
    for number, part in enumerate(parts):
        file = place / f"{part}.py"
        place = place / part
        if place.is_dir():
            continue
        source = file if file.exists() else place.parent / "__init__.py"
        rest = parts[number + 1 :] if file.exists() else parts[number:]
        text = source.read_text(encoding="utf-8")
        return all(re.search(rf"\b{name}\b", text) for name in rest)
    return True
