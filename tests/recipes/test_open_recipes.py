"""Recipes of free corpora: what differs from those of licensed ones."""

from __future__ import annotations

import pytest

from tests.test_recipes import LARGEST, calls, copy_of, option_of, run, stages_of

CONFORMER = ("--train_config", "conf/tuning/train_asr_conformer.yaml")
COMPARISON = ("--comparison", "true", *CONFORMER)


@pytest.fixture(params=["an4", "librispeech_100", "speechocean762"])
def recipe(request, tmp_path):
    return copy_of(request.param, tmp_path)


@pytest.fixture
def an4(tmp_path):
    return copy_of("an4", tmp_path)


def test_no_corpus_needs_to_be_named(recipe):
    folder, _ = recipe
    code, text = run(recipe, "--help")
    assert code == 0 and "11  search" in text
    code, text = run(recipe, "--stop_stage", "2")
    assert code == 0, text
    assert stages_of(calls(recipe)) == ["1", "2"]
    own = "speechocean762" in str(folder)
    assert (folder / "local").is_symlink() != own
    assert (folder / "local" / "make_data.py").exists() == own
    code, text = run(recipe, "--stop_stage", "1", "--programs", "sox no_such_program")
    assert code == 1
    assert "no_such_program is missing, and data preparation calls it" in text


def test_what_is_searched_has_a_budget(recipe):
    """Not an architecture that is given, nor another encoder."""
    folder, root = recipe
    python = root / "bin" / "python3"
    python.write_text(PROGRAMS)
    python.chmod(0o755)
    stage = ("--stage", "12", "--stop_stage", "12")
    for options in ((), ("--arch", str(LARGEST)), ("--budget", "none"), COMPARISON):
        code, text = run(recipe, *stage, *options)
        assert code == 0, text
    programs = (folder / "programs").read_text().splitlines()
    wanted = [
        "select exp/",
        "report exp/",
        f"derive {LARGEST}",
        "derive exp/",
        "report ",
    ]
    assert [w in p for w, p in zip(wanted, programs, strict=True)] == [True] * 5
    assert "--max params=85%" in programs[0]
    (place,) = folder.glob("exp/derived_train_asr_conformer_*")
    assert (place / "train.yaml").read_text() == (folder / CONFORMER[1]).read_text()


def test_an_encoder_to_compare_with_needs_no_search(an4):
    options = ("--stage", "10", "--stop_stage", "13", *COMPARISON)
    code, text = run(an4, *options)
    assert code == 0, text
    assert "no search, since --comparison is given" in text
    assert stages_of(calls(an4)) == ["10", "11"]
    last = calls(an4)[-1]
    assert option_of(last, "asr_exp") == "exp/asr_train_asr_conformer_bpe30_sp"
    # The statistics are those of the search.
    assert run(an4, "--stage", "10", "--stop_stage", "11")[0] == 0
    assert option_of(calls(an4)[-1], "asr_stats_dir") == option_of(
        last, "asr_stats_dir"
    )
    assert stages_of(calls(an4)) == ["10", "11", "11"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--comparison", "yes"), "--comparison is 'yes'; accepted are true, false"),
        ((*COMPARISON, "--arch", str(LARGEST)), "--arch is not accepted with --comp"),
        ((*COMPARISON, "--budget", "params=8M"), "--budget is not accepted with --co"),
        ((*COMPARISON, "--criterion", "ctc_crf"), "accepted with --comparison true is"),
        (("--comparison", "true"), "conf/train_asr.yaml has no encoder, which"),
    ],
)
def test_what_cannot_be_compared(an4, options, message):
    code, text = run(an4, "--stage", "10", *options)
    assert code != 0
    assert message in text
    assert calls(an4) == []


# Writes down what is called of ours.
PROGRAMS = """#!/usr/bin/env bash
case " $* " in *" select "*|*" derive "*|*" report "*) echo "$*" >> programs ;; esac
"""
