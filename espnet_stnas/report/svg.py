"""Turns figures into SVG elements of a page: with text, in its colours. No torch."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

from espnet_stnas.report.drawing import (
    COLOURS,
    GRID,
    LINE,
    PAPER,
    SHADE,
    TEXT,
    drawn,
    style,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VARIABLES = {
    **{colour.lower(): f"var(--c{n})" for n, colour in enumerate(COLOURS)},
    **{TEXT: "var(--ink)", LINE: "var(--line)", GRID: "var(--grid)"},
    **{SHADE: "var(--shade)", PAPER: "var(--paper)"},
}
_COLOUR = re.compile("|".join(_VARIABLES), re.IGNORECASE)
_FONTS = re.compile(r"'DejaVu Sans'[^;\"]*")
_ATTRIBUTE = re.compile(r' (?:d|x|y|transform|points|viewBox)="[^"]*"')
_REFERENCE = re.compile(r'(?:href="|url\()#([^")]+)')


def figure_svg(figure: Figure, name: str, alt: str) -> str:
    """Return a figure as an SVG element for a page.

    Its text is text, its colours are variables of the page's style sheet, and its
    background is that of the page.

    Args:
        figure: The figure.
        name: Distinguishes it from the other figures of the page.
        alt: Describes it to those who do not see it.
    """
    figure.patch.set_alpha(0.0)
    for axis in figure.axes:
        axis.patch.set_alpha(0.0)
    text = drawn(figure, "svg", name, svg_fonttype="none").decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=16)
    # A rule for all elements of the page; its style sheet has it for figures.
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = _FONTS.sub("var(--font)", text)
    used = set(_REFERENCE.findall(text))
    text = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", text)
    text = _ATTRIBUTE.sub(lambda m: _rounded(m[0]), text)
    text = re.sub(
        r' style="[^"]*"',
        lambda m: _COLOUR.sub(lambda c: variable(c[0]), m[0]),
        text,
    )
    text = re.sub(r"\n\s*", "\n", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1)


def variable(colour: str) -> str:
    """Return the variable of the page's style sheet for a colour, or the colour.

    >>> variable("#0072B2"), variable("#123456")
    ('var(--c0)', '#123456')
    """
    return _VARIABLES.get(colour.lower(), colour)


def swatch(number: int) -> str:
    """Return a small SVG element with the line and marker of :func:`style`."""
    from matplotlib.lines import Line2D

    return handle_swatch(Line2D([], [], **style(number)))


def handle_swatch(handle: Any) -> str:
    """Return a small SVG element for a legend; empty if nothing is to be seen.

    Args:
        handle: A line, or a collection of markers, of matplotlib.
    """
    from matplotlib.colors import to_hex
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.path import Path
    from matplotlib.transforms import Affine2D

    parts = []
    if isinstance(handle, Line2D):
        colour = to_hex(handle.get_color())
        if handle.get_linestyle() != "None":
            dash = {"--": "5 2", ":": "1 2", "-.": "5 2 1 2"}
            parts.append(
                '<path d="M0 6H26" fill="none" stroke-width="2" stroke="{0}" '
                f'stroke-dasharray="{dash.get(str(handle.get_linestyle()), "none")}"/>'
            )
        marker = handle.get_marker()
        path = Path([(0, 0)]) if marker in ("", " ", "None", None) else _marker(marker)
    elif isinstance(handle, Patch):
        colour, path = to_hex(handle.get_facecolor()), Path.unit_rectangle()
        path = path.transformed(Affine2D().translate(-0.5, -0.5))
    else:
        colour, path = to_hex(handle.get_facecolor()[0]), handle.get_paths()[0]
    box = path.get_extents()
    polygons: Any = path.to_polygons() if box.width > 0 else ()
    for polygon in polygons:
        scale = 8 / max(box.width, box.height)
        points = " ".join(
            f"{13 + scale * x:.1f},{6 - scale * y:.1f}" for x, y in polygon
        )
        parts.append(f'<polygon points="{points}" fill="{{0}}"/>')
    if not parts:
        return ""
    drawing = "".join(parts).format(variable(colour))
    return f'<svg class="swatch" viewBox="0 0 26 12" aria-hidden="true">{drawing}</svg>'


def _marker(marker: Any) -> Any:
    from matplotlib.markers import MarkerStyle

    shape = MarkerStyle(marker)
    return shape.get_path().transformed(shape.get_transform())


def _rounded(attribute: str) -> str:
    return re.sub(
        r"-?\d+\.\d{3,}",
        lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."),
        attribute,
    )
