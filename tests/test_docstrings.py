"""Docstrings of the package say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

import espnet_stnas
from tests.docstrings import problems

PACKAGE = Path(espnet_stnas.__file__).parent
PROGRAMS = {PACKAGE / "bin", PACKAGE / "cli"}
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent not in PROGRAMS)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_docstrings_are_those_of_the_code(path):
    assert problems(path.read_text(encoding="utf-8")) == []


GOOD = '''
def scale(xs: torch.Tensor, lengths: torch.Tensor, factor: float) -> torch.Tensor:
    """Multiply frames.

    Args:
        xs: Frames (B, T, D).
        lengths: Valid frames (B,),
            which must be positive.
        factor: By how much.

    Raises:
        ValueError: If the factor is 0.
    """
    if not factor:
        raise ValueError("factor is 0")
    return xs * factor


@dataclass
class Point:
    """A point.

    Args:
        x: To the right.
        y: Upwards.
    """

    x: int
    y: int

    def norm(self) -> float:
        """The distance from the origin."""


class Point3(Point):
    """A point in space.

    Args:
        x: To the right.
        y: Upwards.
        z: To the front.
    """

    z: int
'''


def test_good_docstrings_pass():
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("factor: By", "factors: By", "scale lists ['xs', 'lengths', 'factors'] and"),
        ('        y: Upwards.\n    """\n\n    x', '    """\n\n    x', "Point lists"),
        ("        z: To the front.\n", "", "Point3 lists ['x', 'y'] and takes ['z']"),
        ("Frames (B, T, D).", "Frames.", "scale does not give the shape of xs"),
        ("ValueError: If", "KeyError: If", "scale does not say that it raises ['Val"),
        ('"""The distance from the origin."""', "...", "Point.norm has no docstring"),
        (
            "    Args:\n        xs",
            "    Arguments:\n        xs",
            "scale does not list its",
        ),
    ],
)
def test_what_is_wrong_is_found(old, new, problem):
    assert old in GOOD
    found = problems(GOOD.replace(old, new, 1))
    assert any(text.startswith(problem) for text in found), found


def test_tensors_without_a_list_need_shapes_somewhere():
    source = 'def f(xs: torch.Tensor) -> int:\n    """Count frames."""\n'
    assert problems(source) == ["f gives no shape"]
    assert problems(source.replace("frames", "frames (B, T)")) == []
