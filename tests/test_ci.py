"""What .ci/run changes in typeguard leaves the checks of ESPnet's functions alone."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CellType, CodeType, FunctionType, ModuleType

import espnet2.asr.espnet_model
import espnet2.train.trainer
import pytest
import typeguard
from typeguard import _decorators

START = Path(__file__).parent.parent / ".ci" / "start"


def functions(module: ModuleType) -> Iterator[FunctionType]:
    """The functions of a module as they were before decorators saw them."""

    def inside(code: CodeType, path: tuple[str, ...]) -> Iterator[FunctionType]:
        for const in code.co_consts:
            if isinstance(const, CodeType) and const.co_name.isidentifier():
                name = (*path, const.co_name)
                cells = tuple(CellType() for _ in const.co_freevars)
                function = FunctionType(const, vars(module), closure=cells)
                function.__qualname__ = ".".join(name)
                yield function
                yield from inside(const, name)

    source = inspect.getsource(module)
    yield from inside(compile(source, str(module.__file__), "exec"), ())


@pytest.fixture
def changed() -> ModuleType:
    """A copy of typeguard's module, as .ci/run changes it."""
    found = []
    for path, name in (
        (_decorators.__file__, "typeguard._decorators_of_ci"),
        (START / "sitecustomize.py", "sitecustomize_of_ci"),
    ):
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.append(module)
    found[1].speed_up(found[0])
    return found[0]


@pytest.mark.parametrize(
    "module", [typeguard._utils, espnet2.asr.espnet_model, espnet2.train.trainer]
)
def test_the_code_with_checks_is_the_same(changed, module):
    spec = importlib.util.find_spec("typeguard._decorators")
    assert spec is not None and spec.loader is not None
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    found = list(functions(module))
    assert len(found) > 5
    rewritten = 0
    for function in found:
        one, two = plain.instrument(function), changed.instrument(function)
        if isinstance(one, str):
            assert one == two
        else:
            rewritten += one.__code__ != function.__code__
            assert one.__code__ == two.__code__, function.__qualname__
    assert rewritten > 5


def test_it_is_changed_when_it_is_imported_and_not_before():
    program = (
        "import sys; print('typeguard' in sys.modules)\n"
        "from typeguard import _decorators as d, _transformer as t\n"
        "print(d.TypeguardTransformer is t.TypeguardTransformer)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(START)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["False", "False"]
