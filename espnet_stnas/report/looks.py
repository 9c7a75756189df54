"""Which line and colour an operation has, in all figures and tables. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from espnet_stnas.notation.space import SearchSpace

# From the name of an operation to the number of its style.
Looks = Mapping[str, int]


def looks_of(spaces: Iterable[SearchSpace]) -> Looks:
    """Number the candidates of all choices of some search spaces.

    Args:
        spaces: The spaces; what is a candidate in several of them gets one number.
    """
    names = (
        str(op)
        for space in spaces
        for choice in space.choices
        for op in choice.candidates
    )
    return {name: number for number, name in enumerate(dict.fromkeys(names))}
