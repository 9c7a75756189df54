"""Any file is an architecture that reads back, or one clear sentence."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import espnet_stnas
from espnet_stnas import files
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import dump_yaml, read_yaml_mapping
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.provenance import search_provenance
from tests.fuzz.inputs import JUNK, TEXTS, damaged_bytes, fuzz, litter
from tests.fuzz.test_notation import sentence

SPACE = SearchSpace.from_conf(
    {"layers": [["tdnn-C1D1", "tdnn-C2D2"], "tdnn-C1S3D1"], "width": 8}
)
ARCHITECTURE = Architecture(
    SPACE.resolve([1]),
    search_provenance(SPACE, [[0.25, 0.75]], epoch=3, seed=7, searching=True),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict:
    """What an architecture file holds."""
    path = tmp_path_factory.mktemp("whole") / "arch.yaml"
    ARCHITECTURE.write(path)
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "arch.yaml"


@fuzz(100)
@given(draws=st.data())
def test_architecture_files(data, path, draws):
    path.write_bytes(draws.draw(damaged_bytes(data)))
    start = time.perf_counter()
    try:
        architecture = Architecture.read(path)
    except ConfigError as error:
        sentence(error)
    else:
        assert architecture.space.is_architecture
        architecture.write(path)
        assert Architecture.read(path) == architecture
    assert litter(path.parent) == []
    assert time.perf_counter() - start < 10


@fuzz(100)
@given(draws=st.data())
def test_yaml_files(path, draws):
    """What is read can be written, and is then the same."""
    template = {"optim": "adam", "a": {"b": [1, 2.5, None, {"c": True}]}, "d": "x y"}
    path.write_bytes(draws.draw(damaged_bytes(template)))
    try:
        found = read_yaml_mapping(path, "training config")
    except ConfigError as error:
        sentence(error)
        return
    path.write_text(dump_yaml(found))
    again = read_yaml_mapping(path, "training config")
    # As text, since nan differs from itself. The pairs of !!omap become lists.
    brackets = str.maketrans("()", "[]")
    assert repr(again).translate(brackets) == repr(found).translate(brackets)


def outcome(path) -> str:
    try:
        return repr(read_yaml_mapping(path, "file"))
    except ConfigError as error:
        return str(error)


@pytest.mark.skipif(files._FAST_LOADER is None, reason="PyYAML without libyaml")
@fuzz(100)
@given(draws=st.data())
def test_libyaml_changes_nothing_but_the_time(path, draws):
    template = {"optim": "adam", "a": {"b": [1, 2.5, None, {"c": True}]}, "d": "x y"}
    path.write_bytes(draws.draw(damaged_bytes(template)))
    fast = outcome(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_FAST_LOADER", None)
        assert outcome(path) == fast


@pytest.mark.parametrize("where", ["", "key: ", "encoder_conf:\n  layers: "])
@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_every_text_in_every_place(path, number, where):
    path.write_bytes(where.encode() + TEXTS[number].encode())
    start = time.perf_counter()
    with pytest.raises(ConfigError) as refused:
        Architecture.read(path)
    sentence(refused.value)
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize("junk", JUNK)
def test_junk(path, junk):
    path.write_bytes(junk)
    with pytest.raises(ConfigError, match="cannot be read|not valid YAML|holds NoneTy"):
        Architecture.read(path)


@pytest.mark.parametrize("fast", [True, False], ids=["libyaml", "python"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: &a [*a]",
            "not valid YAML: found a value that contains itself in .* line 1",
        ),
        ("a: &a {b: {<<: *a}}", "found a value that contains itself"),
        ("a: 1\nb: 2\na: 3", "found the key 'a' twice in .* line 3, column 1"),
        ("a: " + "[" * 600, "is nested too deeply; accepted are 100 levels"),
        ("a: " + "[" * 200 + "]" * 200, "more than 1000000 values or 100 levels"),
        ("a: 2024-13-01", "holds a value that cannot be read .*month must be in 1..12"),
        ("a: !!timestamp x", "holds a value that cannot be read"),
        ("a: !!bool x", "holds a value that cannot be read"),
        ("a: " + "9" * 5000, "found an integer of 5000 digits"),
        ("a: !!python/name:os.system ''", "could not determine a constructor"),
    ],
)
def test_damage_is_named(path, monkeypatch, text, message, fast):
    if not fast:
        monkeypatch.setattr(files, "_FAST_LOADER", None)
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_yaml_mapping(path, "file")


@pytest.mark.parametrize("text", [t for t in TEXTS if "laughs" in t or "&a59" in t])
def test_aliases_do_not_multiply(path, text):
    """2^60 values by aliases or merge keys, in a kilobyte."""
    path.write_text(text)
    start = time.perf_counter()
    with pytest.raises(
        ConfigError, match="more than 1000000 values or 100 levels, cou"
    ):
        read_yaml_mapping(path, "file")
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("place", ["encoder_conf", "provenance", "format", "other"])
def test_an_architecture_file_runs_no_code(data, path, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    for tag in ("apply:os.system", "new:os.system", "apply:subprocess.check_output"):
        lines = yaml.safe_dump({k: v for k, v in data.items() if k != place})
        command = "[touch pwned]" if "system" in tag else "[[touch, pwned]]"
        path.write_text(f"{lines}{place}: !!python/object/{tag} {command}\n")
        with pytest.raises(ConfigError, match="could not determine a constructor"):
            Architecture.read(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": True}, "has format True; this version"),
        ({"format": 1.0}, "has format 1.0"),
        (
            {"provenance": {"space": [1]}},
            r"provenance: space is \[1\]; accepted is a map",
        ),
        ({"provenance": {"space": {"layers": 3}}}, "accepted is a mapping with a list"),
        (
            {"provenance": {"epoch": "3"}},
            "provenance: epoch is '3'; accepted is an int",
        ),
        (
            {"provenance": {"probabilities": [{"tdnn": "x"}]}},
            "probabilities is .*accept",
        ),
        ({"provenance": {"probabilities": [{"tdnn": 1.5}]}}, "numbers from 0 to 1"),
        ({"provenance": {"probabilities": [{1: 0.5}]}}, "mapping from operations"),
    ],
)
def test_forms_that_would_fail_later(data, path, change, message):
    path.write_text(yaml.safe_dump({**data, **change}))
    with pytest.raises(ConfigError, match=message):
        Architecture.read(path)


UNSAFE_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"}
UNSAFE_MODULES |= {"joblib", "jsonpickle"}
UNSAFE_NAMES = {"load", "load_all", "unsafe_load", "full_load", "unsafe_load_all"}
UNSAFE_NAMES |= {"full_load_all", "Loader", "UnsafeLoader", "FullLoader", "CLoader"}
UNSAFE_NAMES |= {"add_constructor", "YAMLObject"}


def dangers(tree: ast.AST) -> list[str]:
    """What could run code that is in a file."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            found += [n for n in names if n.split(".")[0] in UNSAFE_MODULES]
        elif isinstance(node, ast.ImportFrom):
            root = (node.module or "").split(".")[0]
            names = [alias.name for alias in node.names]
            found += [root] if root in UNSAFE_MODULES | {"yaml"} else []
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "yaml" and node.attr in UNSAFE_NAMES:
                found.append(f"yaml.{node.attr}")
        if isinstance(node, ast.Call):
            found += _danger_of_call(node)
    return found


def _danger_of_call(call: ast.Call) -> list[str]:
    name = ast.unparse(call.func)
    if name in ("eval", "exec", "compile", "__import__", "os.system"):
        return [name]
    if name == "torch.load":
        safe = {k.arg: ast.unparse(k.value) for k in call.keywords}
        return [] if safe.get("weights_only") == "True" else ["torch.load"]
    return ["shell=True"] if any(k.arg == "shell" for k in call.keywords) else []


def test_no_code_in_files_is_ever_run():
    package = Path(espnet_stnas.__file__).parent
    for file in sorted(package.rglob("*.py")):
        assert dangers(ast.parse(file.read_text(encoding="utf-8"))) == [], file


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from dill import loads",
        "yaml.load(f, Loader=yaml.Loader)",
        "yaml.unsafe_load(f)",
        "from yaml import load",
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "subprocess.run(x, shell=True)",
    ],
)
def test_dangers_are_found(code):
    assert dangers(ast.parse(code))
    assert not dangers(ast.parse("torch.load(p, weights_only=True); yaml.safe_load(t)"))
