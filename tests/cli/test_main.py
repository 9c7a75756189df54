"""The command as such: help, usage, exit codes, options from a YAML, start-up."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from espnet_stnas.cli.main import COMMANDS, main
from espnet_stnas.cli.parser import get_parser
from espnet_stnas.version import __version__

ROOT = Path(__file__).parents[2]
CLI = ROOT / "espnet_stnas" / "cli"


def test_every_file_is_a_command_and_the_other_way_round():
    shared = {"__init__", "main", "parser", "selected", "selecting", "spaces"}
    files = {path.stem for path in CLI.glob("*.py")} - shared
    assert files == {name.replace("-", "_") for name in COMMANDS} - {"search"}


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"search"}))
def test_help_says_what_options_are(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert f"usage: stnas {command}" in capsys.readouterr().out
    for action in get_parser(command)._actions:
        assert action.help or action.choices, action.dest
    if command == "demo":  # passes them on to a shell script
        return
    with pytest.raises(SystemExit) as end:
        main([command, "--no_such_option"])
    assert end.value.code == 2


def test_defaults_stand_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["label-lm", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Labels of an n-gram (default: 4)" in text
    assert "(default: None)" not in text and "(default: False)" not in text


def test_version_and_overview(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"espnet_stnas {__version__}\n"
    with pytest.raises(SystemExit, match="2"):
        main([])
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in COMMANDS)


def test_unknown_command(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["dervie"])
    assert "invalid choice: 'dervie'" in capsys.readouterr().err


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "text").write_text("a b c\n")
    return str(tmp_path / "text")


def test_options_from_a_yaml(texts, tmp_path, capsys):
    """Those of the command line win; every kind of option can be given."""
    config = tmp_path / "options.yaml"
    tokens = tmp_path / "tokens"
    tokens.write_text("<blank>\n<unk>\nb\n<space>\n<sos/eos>\n")
    options = {"order": 2, "min_counts": [1], "map_unknown": True, "json": False}
    options |= {"token_list": str(tokens), "bpemodel": None}
    config.write_text(yaml.safe_dump(options))
    main(["label-lm", texts, "--config", str(config)])
    assert "2-grams" in capsys.readouterr().out
    main(["label-lm", texts, "--config", str(config), "--order", "1", "--json"])
    assert set(json.loads(capsys.readouterr().out)["ngrams"]) == {"1"}


def test_unknown_keys_of_a_yaml_are_one_sentence(texts, tmp_path):
    config = tmp_path / "options.yaml"
    for text, sentence in (
        ("outptu: x", "config .*options.yaml: unknown key 'outptu'; accepted are the "),
        ("config: x", "unknown key 'config'"),
        ("[1", "config .* is not valid YAML"),
    ):
        config.write_text(text)
        with pytest.raises(SystemExit, match=f"^error: .*{sentence}"):
            main(["score", texts, texts, "--config", str(config)])


@pytest.mark.parametrize("words", [["--debug", "score"], ["score", "--debug"]])
def test_debug_shows_the_traceback_behind_a_sentence(words, texts, monkeypatch, capsys):
    monkeypatch.setenv("STNAS_DEBUG", "")
    sentence = "^error: text file /nothing "
    with pytest.raises(SystemExit, match=sentence):
        main(["score", texts, "/nothing"])
    assert "Traceback" not in capsys.readouterr().err
    with pytest.raises(SystemExit, match=sentence):
        main([*words, texts, "/nothing"])
    assert "Traceback" in capsys.readouterr().err


def python(code: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["derive", "--help"],
        ["show", "conf/space/tdnn_paper.yaml", "--input_size", "40"],
        ["diff", *["conf/space/tdnn_paper.yaml"] * 2],
    ],
)
def test_what_needs_no_torch_starts_without_it(words):
    """Importing torch or ESPnet takes seconds."""
    code = (
        "import contextlib, sys\n"
        "from espnet_stnas.cli.main import main\n"
        "with contextlib.suppress(SystemExit):\n"
        f"    main({words!r})\n"
        "heavy = {'torch', 'matplotlib', 'espnet2', 'espnet', 'numpy'}\n"
        "print('imported:', sorted(heavy & set(sys.modules)))\n"
    )
    assert python(code).splitlines()[-1] == "imported: []"


def test_workers_of_a_search_know_the_encoder():
    """ESPnet spawns them for several GPUs; a package's __main__ is not imported there.

    What they are sent, the task, registers the encoder.
    """
    from espnet_stnas.search.tasks import search_task

    worker = pickle.dumps(search_task("asr").main_worker)
    code = (
        f"import pickle\npickle.loads({worker!r})\n"
        "from espnet2.tasks.asr import encoder_choices\n"
        "print('stnas' in encoder_choices.classes)\n"
    )
    assert python(code).split()[-1] == "True"


def test_search_is_a_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["search", "--task", "asr", "--help"])
    assert "--warmup_epochs" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="^error: task is 'tts'; accepted are"):
        main(["search", "--task", "tts"])
