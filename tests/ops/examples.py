"""Examples of all operations that are registered, made from their options."""

from __future__ import annotations

from espnet_stnas.notation.families import FAMILIES
from espnet_stnas.notation.family import OpFamily, Option, OptionValue

# Widths that all operations accept, with the values below: a multiple of the numbers of
# heads, even, and large enough for 2-D convolutions.
SIZE = 24


def other_values(option: Option) -> list[OptionValue]:
    """Accepted values besides the default."""
    if option.choices:
        found = list(option.choices)
    else:
        found = [{"odd": 5, "even": 6, "": 3}[option.parity]]
        # None of something differs from some. Not a width of 1: its norm is constant.
        found = [0, *found] if option.minimum == 0 else found
    return [value for value in found if value != option.default]


def accepted(family: OpFamily, change: dict[Option, OptionValue]) -> bool:
    """Whether the family accepts the defaults with these changes."""
    return not family.check({o.name: change.get(o, o.default) for o in family.options})


def examples_of(family: OpFamily) -> list[str]:
    """The default, each other choice, all sizes changed, and all options changed.

    What the family refuses by itself comes together with all other changes.
    """
    others = {o: other_values(o) for o in family.options}
    few = {o: values for o, values in others.items() if o.choices or 0 in values}
    most = {o: values[-1] for o, values in others.items()}
    changes = [
        {o: value} if accepted(family, {o: value}) else {**most, o: value}
        for o, values in few.items()
        for value in values
    ]
    changes += [{o: values[-1] for o, values in others.items() if not o.choices}]
    changes += [most]
    codes = ["".join(f"{o.code}{v}" for o, v in c.items()) for c in changes]
    texts = [family.name, *(f"{family.name}-{code}" for code in codes if code)]
    return list(dict.fromkeys(texts))


def all_examples() -> list[str]:
    """Examples of all families, plugins included."""
    return [text for family in FAMILIES.values() for text in examples_of(family)]
