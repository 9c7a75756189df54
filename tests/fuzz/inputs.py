"""Bad input: damaged YAML, as data and as text.

The examples are the same in every run. To look for more, say how many:
``FUZZ_EXAMPLES=2000 pytest tests/fuzz`` draws other ones each time.
"""

from __future__ import annotations

import copy
import datetime
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Optional

import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_MORE = os.environ.get("FUZZ_EXAMPLES")


def fuzz(examples: int) -> settings:
    """Settings for so many examples."""
    return settings(
        derandomize=_MORE is None,
        max_examples=int(_MORE or examples),
        deadline=None,
        # Files and captured output are made anew, or overwritten, by each example.
        suppress_health_check=list(HealthCheck),
    )


def laughs(levels: int = 30) -> list:
    """A list of 10 ** levels strings that takes no space ("billion laughs")."""
    value: list = ["tdnn"] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


def itself() -> list:
    """A list that contains itself, as ``&a [*a]``."""
    value: list = []
    value.append(value)
    return value


def deep(levels: int = 40) -> Any:
    """Lists inside each other."""
    value: Any = "tdnn"
    for _ in range(levels):
        value = [value]
    return value


# Values of the wrong type, size or form. Not `laughs`: a failing test prints them.
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 3, 100_000, 100_001, 10**9, 10**400, -(16**6000)),
    *(0.1, -0.5, 1.0, 1e300, float("nan"), float("inf"), float("-inf")),
    *(
        "",
        "tdnn",
        "tdnn-C2D2",
        "tdnn-C" + "9" * 5000,
        "\n\n x",
        "nan",
        "\ud800",
        "\x00",
    ),
    *(
        "tdnn-C100000D100000W1",
        "tdnn-W100000",
        "conv2d-S8W100000",
        "stnas",
        "x" * 3000,
    ),
    *(
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29, 12, 0, 0),
        b"\x00\xff",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        {None: 1, 2: 3},
        {"op": []},
        {"op": "tdnn", "width": 10**9},
    ),
    *([["tdnn"] * 1001], {"layers": [1]}, {datetime.date(2024, 2, 29): {True: 1}}),
    *({"repeat": 10**9, "layers": ["zero"]}, {"repeat": 1000, "layers": laughs(2)}),
    *(itself(), deep(), [[f"tdnn-W{n}" for n in range(1, 300)]]),
]
# Integers of thousands of digits can be in memory, but not written by PyYAML.
WRITABLE = [v for v in VALUES if type(v) is not int or v.bit_length() < 10_000]

_LAUGHS = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
)
_MERGES = "\n".join(
    ["a0: &a0 {x: 1}"]
    + [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], x{n}: 1}}" for n in range(1, 60)]
)
_CHAIN = "\n".join(
    ["c0: &c0 [x]", *(f"c{n}: &c{n} [*c{n - 1}]" for n in range(1, 400))]
)
# Text that is not what it seems to be, or is not YAML at all.
TEXTS = [
    *("", "{}", "[]", "3", "a", "null", "---", "a: 1\n---\nb: 2", "\t", "a:\tb", "'"),
    *("&a [*a]", "a: &a {b: *a}", "a: &a {<<: *a}", "<<: 3", "<<: [3]", "*nothing"),
    *(
        "2024-13-01",
        "2001-01-01 00:00:00 +99:99",
        "1:99:99",
        "9" * 5000,
        "0x" + "f" * 5000,
    ),
    *("!!int x", "!!float x", "!!bool x", "!!timestamp x", "!!null x", "!!binary '*'"),
    *(
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!pairs [a: 1]",
        "!!str [a]",
        "!!map [a]",
        "!x y",
    ),
    *(
        "!!int ''",
        "!!float ''",
        "? [a]\n: b",
        "? {a: b}\n: c",
        "{1: 2, 1: 3}",
        "a: 1\na: 2",
    ),
    *(
        "[" * 600,
        "{a: " * 600,
        "- " * 600,
        "a: " + "[" * 200 + "]" * 200,
        "%YAML 9.9",
    ),
    *(_LAUGHS, _MERGES, _CHAIN, "\x00", "\ufeff", "\u2028", "a: \x85b", "\x07"),
    "!!python/object/apply:os.system ['touch pwned']",
    "!!python/object/new:os.system ['touch pwned']",
    "!!python/name:os.system ''",
    "!!python/tuple [1, 2]",
]
JUNK = [
    b"\xff\xfe\x00",
    b"\x80abc",
    b"\x00" * 9,
    b"PK\x03\x04\x00",
    b"\xef\xbb\xbf",
    b"",
]


def places(data: Any) -> list[tuple]:
    """Paths of what is inside plain data, itself included; some, if there are many."""
    found: list[tuple[tuple, Any]] = [((), data)]
    for path, value in found:  # which grows
        if len(found) > 300:
            break
        if isinstance(value, dict):
            found += [((*path, k), v) for k, v in value.items()]
        elif isinstance(value, list):
            found += [((*path, k), v) for k, v in enumerate(value)]
    return [path for path, _ in found]


def damage_one(draw: Callable, data: Any, values: Sequence[Any]) -> Any:
    """Change one thing in plain data."""
    paths = places(data)
    path = draw(st.sampled_from(paths))
    if not path:
        return draw(st.sampled_from([data] * 9 + list(values)))
    data = copy.deepcopy(data)
    inside = data
    for key in path[:-1]:
        inside = inside[key]
    key, old = path[-1], inside[path[-1]]
    how = draw(
        st.sampled_from(["replace", "replace", "remove", "rename", "wrap", "add"])
    )
    new = draw(st.sampled_from(values))
    if how == "remove":
        del inside[key]
    elif how == "wrap":
        inside[key] = draw(st.sampled_from([[old], [[old]], {"x": old}, [old, old]]))
    elif how == "rename" and isinstance(inside, dict):
        del inside[key]
        renamed = [f"{key}s", "", "Layers", None, 3, True, "op", "repeat", "a\nb"]
        inside[draw(st.sampled_from(renamed))] = old
    elif how == "add":
        if isinstance(inside, list):
            inside.insert(key, new)
        else:
            inside[draw(st.sampled_from(["x", 1, None, "layers", "encoder"]))] = new
    else:
        inside[key] = new
    return data


@st.composite
def damaged(
    draw: Callable, data: Any, values: Optional[Sequence[Any]] = None, most: int = 3
) -> Any:
    """Plain data with up to ``most`` changes."""
    for _ in range(draw(st.integers(0, most))):
        if not isinstance(data, (dict, list)) or not data:
            break
        data = damage_one(draw, data, VALUES if values is None else values)
    return data


@st.composite
def damaged_bytes(draw: Callable, data: Any) -> bytes:
    """A YAML file that was valid, or something else altogether."""
    how = draw(st.sampled_from(["data", "data", "text", "lines", "bytes", "other"]))
    if how == "other":
        return draw(st.sampled_from(JUNK) | st.sampled_from(TEXTS).map(str.encode))
    if how == "data":
        data = draw(damaged(data, WRITABLE))
    text = yaml.safe_dump(data, sort_keys=False)
    lines = text.splitlines(keepends=True)
    at = draw(st.integers(0, len(lines)))
    if how == "text":
        key = draw(st.sampled_from(["", "x: ", "encoder_conf: ", "- ", "  layers: "]))
        lines.insert(at, key + draw(st.sampled_from(TEXTS)) + "\n")
    elif how == "lines":
        upto = draw(st.integers(at, len(lines)))
        lines[at:upto] = lines[at:upto] * draw(st.sampled_from([0, 0, 2]))
    content = "".join(lines).encode()
    if how == "bytes":
        at = draw(st.integers(0, len(content)))
        junk = draw(st.sampled_from(JUNK) | st.binary(max_size=4))
        content = content[:at] + junk + content[at:]
    return content


def refused(main: Callable[[list[str]], None], options: list[str], capsys: Any) -> bool:
    """Run a command: False if it does its work, True if it says why not.

    Anything but one sentence fails the test.
    """
    capsys.readouterr()
    try:
        main(options)
    except SystemExit as error:
        if error.code == 2:  # argparse
            message = capsys.readouterr().err.splitlines()[-1]
        else:
            message = str(error.code)
            assert message.startswith("error: "), message
            assert message.isprintable()
        assert "error: " in message
        assert len(message) < 2000
        return True
    return False


def litter(directory: Path) -> list[Path]:
    """Temporary files that were left."""
    return [p for p in directory.rglob("*") if p.name.startswith(".")]
