"""The checks of the documentation find what is wrong, one deliberate error each."""

from __future__ import annotations

import pytest

from tests import commands, messages, pages
from tests.pages import ROOT
from tests.test_docs import check_yaml, run_python

PAGE = ROOT / "docs" / "page.md"
DERIVE = "stnas derive"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](nowhere.md)", "there is no nowhere.md"),
        ("![a](figures/nothing.png)", "there is no figures/nothing.png"),
        ("[a](../../method.md)", "there is no ../../method.md"),
        ("[a](cost.md#nothing)", "no heading makes cost.md#nothing"),
        ("# One\n\n[a](#two)", "no heading makes #two"),
        ("# Same\n\n# Same\n\n[a](#same-2)", "no heading makes #same-2"),
    ],
)
def test_bad_links(text, problem):
    page = ROOT / "docs" / "cost.md" if text.startswith("# ") else PAGE
    assert pages.link_problems(page, text) == [problem]


def test_good_links():
    text = (
        "# Why, `a.b` and [more](cost.md)?\n\n# Same\n\n# Same\n\n"
        "[a](#same-1) [b](#why-ab-and-more) [c](cost.md#what-is-counted)\n"
        "`[d](nowhere.md)`\n\n```sh\n[e](nowhere.md)\n# no-heading\n```\n"
    )
    assert pages.link_problems(ROOT / "docs" / "tasks.md", text) == []
    assert pages.anchors(text) == {"why-ab-and-more", "same", "same-1"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("`benchmarks/nothing.py`", "there is no benchmarks/nothing.py"),
        ("in tests/nothing there", "there is no tests/nothing"),
        ("`conf/space/tdnn.yaml`", "there is no conf/space/tdnn.yaml"),
        ("`espnet_stnas.cli.nothing`", "there is no espnet_stnas.cli.nothing"),
        (
            "`espnet_stnas.notation.spec.parse_up`",
            "there is no espnet_stnas.notation.spec.parse_up",
        ),
    ],
)
def test_bad_paths(text, problem):
    assert pages.path_problems(PAGE, text) == [problem]


def test_good_paths():
    text = "tests/ops, `docs/`, espnet_stnas.errors, ${X}/tools/sctk, espnet_stnas."
    assert pages.path_problems(PAGE, text) == []


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("stnas dervie a", "no command ['dervie', 'a']"),
        (f"{DERIVE} a --outptu b", "has no option --outptu"),
        (f"{DERIVE} a --outp b", "has no option --outp"),
        (f"{DERIVE} --output b", "arguments are required: SEARCH_EXP|ARCH"),
        (f"{DERIVE} a \\\n    --frames many", "invalid int value: 'many'"),
        ("python3 -m espnet_stnas autoload start", "invalid choice: 'start'"),
        ("stnas search --warmup 3", "no option --warmup"),
        ("stnas search --task st --optim3 x", "no option --optim3"),
        (
            "python3 -m espnet_stnas.run -m espnet2.bin.asr_tain",
            "ESPnet has no espnet2",
        ),
        (f"x=1 {DERIVE} a --x", "has no option --x"),
        ("torchrun --no-python " + f"{DERIVE} a --x", "has no option --x"),
        ("./run.sh --stages 3", "./run.sh has no option --stages"),
        (
            "cd egs2/digits/asr_stnas1\n./run.sh --arch a",
            "./run.sh has no option --arch",
        ),
        ("cd egs2/timit/asr_stnas1", "there is no directory egs2/timit/asr_stnas1"),
        ("tools/run_demo.sh --corpora x", "tools/run_demo.sh has no option --corpora"),
        (
            'tools/run_demo.sh --search_args "--lr 1"',
            "value of --search_args has no opt",
        ),
        (
            './run.sh --python "python3 -m espnet_stnas drive"',
            "no command ['drive']",
        ),
        ("python benchmarks/kills.py --kill 3", "has no option --kill"),
        ("python benchmarks/kills.py --kills few", "invalid int value: 'few'"),
        ("python benchmarks/kill.py", "there is no benchmarks/kill.py"),
    ],
)
def test_bad_commands(command, problem):
    for text in (
        f"```sh\n{command}\n```\n",
        f"1. a\n\n   ```sh\n   {command}\n   ```\n",
    ):
        found = commands.command_problems(PAGE, text)
        assert len(found) == 1
        assert problem in found[0]


def test_bad_commands_in_comments_and_lines():
    problems = commands.command_problems(
        PAGE,
        "<!-- python benchmarks/traffic.py --wide 3 -->\n`tools/run_demo.sh\n--x 3` "
        "and `--max_stipped_steps`, and `benchmarks/cost.py --device cuda`\n",
    )
    assert [problem.split()[-1] for problem in problems] == [
        *("--wide", "--x", "--max_stipped_steps", "--device"),
    ]


def test_good_commands():
    text = (
        f"```sh\n{DERIVE} a.yaml --output b.yaml   # a comment --x\n"
        f"A=b {DERIVE} a --epoch 3\n{DERIVE} ...\n"
        "cd egs2/digits/asr_stnas1\n./run.sh --corpus tts\n```\n"
        "`--warmup_epochs`, `derive a`, `python x.py --anything`\n"
        "```\nstnas nothing\n```\n"
    )
    assert commands.command_problems(PAGE, text) == []


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({"encoder_conf": {"layers": ["tdn"]}}, "unknown operation"),
        ({"encoder_conf": {"layers": ["tdnn"], "depth": 3}}, "unknown key 'depth'"),
        ({"layers": [["tdnn-W3", "identity"]]}, "must give the same width"),
        ({"model": {"encoder_conf": {"layers": []}}}, "at least one layer"),
        ({"estimator": "st", "estimator_conf": {"order": 2}}, "has no option 'order'"),
        ({"cost_conf": {"kind": "flops"}}, "kind is 'flops'"),
    ],
)
def test_bad_yaml(found, problem):
    with pytest.raises(ValueError, match=problem):
        check_yaml(found)


def test_bad_python():
    with pytest.raises(SyntaxError):
        run_python("config = {..., 'a': 1}", "page.md")
    with pytest.raises(ImportError):
        run_python(
            "import torch\nfrom espnet_stnas.notation.spec import parse", "page.md"
        )
    run_python(
        "import espnetez\nfrom espnet_stnas.notation.spec import parse", "page.md"
    )


def test_messages_are_compared_word_by_word():
    assert messages.quoted("a **`one\ntwo`**, `three`") == ["one two"]
    assert messages.exists("encoder_conf: unknown key ...; accepted are: ...")
    assert messages.exists("sox is missing; ...")
    # Other words, another order, words where a value stands, words of a docstring.
    assert not messages.exists("encoder_conf: unknown keys ...; accepted are: ...")
    assert not messages.exists("accepted are: ...; encoder_conf: unknown key ...")
    assert not messages.exists("encoder_conf: unknown key 'depth'; accepted are: ...")
    assert not messages.exists("Read an operation, or a chain of some")
