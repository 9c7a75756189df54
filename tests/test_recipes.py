"""What run.sh of the recipes does around asr.sh; shell only, nothing is trained."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EGS = Path(__file__).parent.parent / "egs2"
RECIPES = ("wsj", "swbd")


@pytest.fixture(params=RECIPES)
def recipe(request, tmp_path):
    """A copy of a recipe beside a made-up ESPnet checkout."""
    folder = tmp_path / "egs2" / request.param / "asr_stnas1"
    subprocess.run(["cp", "-r", EGS / "TEMPLATE", tmp_path], check=True)
    folder.parent.mkdir(parents=True)
    subprocess.run(
        ["cp", "-rL", EGS / request.param / "asr_stnas1", folder], check=True
    )
    template = tmp_path / "espnet" / "egs2" / "TEMPLATE" / "asr1"
    for name in ("pyscripts/audio", "scripts", "steps", "utils", "conf"):
        (template / name).mkdir(parents=True)
    (template / "pyscripts/audio/format_wav_scp.py").write_text("")
    (template / "utils" / "run.pl").symlink_to("/bin/true")
    for name in ("queue", "pbs", "slurm"):
        (template / "conf" / f"{name}.conf").write_text("")
    (template / "db.sh").write_text("WSJ0=\nWSJ1=\nSWBD=\n")
    (template / "asr.sh").write_text(ASR)
    (template / "asr.sh").chmod(0o755)
    local = tmp_path / "espnet" / "egs2" / request.param / "asr1" / "local"
    local.mkdir(parents=True)
    (tmp_path / "espnet" / "tools").mkdir()
    (tmp_path / "espnet" / "tools" / "extra_path.sh").write_text("")
    (tmp_path / "bin").mkdir()
    for name in ("sox", "sclite", "sph2pipe"):
        (tmp_path / "bin" / name).symlink_to("/bin/true")
    return folder, tmp_path


# Knows the names of some options and writes down how it was called.
ASR = """#!/usr/bin/env bash
asr_config= asr_exp= asr_tag= asr_args= asr_stats_dir=
lang=
token_type=
nbpe=
nlsyms_txt=
speed_perturb_factors=
use_lm=
lm_config=
lm_train_text=
inference_config=
inference_asr_model=
train_set=
valid_set=
test_sets=
bpe_train_text=
feats_type=
audio_format=
score_opts=
nj=
printf '%s|' "$@" >> calls
echo >> calls
previous=
for word in "$@"; do
    if [ "${previous}" = --asr_stats_dir ]; then
        mkdir -p "${word}/train"
        touch "${word}/train/speech_shape"
    fi
    previous=${word}
done
[ ! -e fail ]
"""


def run(recipe, *options, **environment):
    folder, root = recipe
    given = {**os.environ, "ESPNET_ROOT": str(root / "espnet"), **environment}
    # python3 shall be that of the tests.
    given["PATH"] = f"{root / 'bin'}:{Path(sys.executable).parent}:{given['PATH']}"
    for name in ("WSJ0", "WSJ1", "SWBD"):
        given.setdefault(name, "")
    given = {name: value for name, value in given.items() if value is not None}
    found = subprocess.run(
        ["bash", str(folder / "run.sh"), *options],
        capture_output=True,
        text=True,
        env=given,
    )
    return found.returncode, found.stdout + found.stderr


def calls(recipe):
    path = recipe[0] / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_help(recipe):
    code, text = run(recipe, "--help")
    assert code == 0
    assert "--arch " in text and "11  search" in text


@pytest.mark.parametrize(
    ("options", "environment", "message"),
    [
        ((), {"ESPNET_ROOT": None}, "ESPNET_ROOT is not set"),
        ((), {"ESPNET_ROOT": "/nowhere"}, "ESPNET_ROOT is '/nowhere', which has no"),
        ((), {"cmd_backend": "lsf"}, "cmd_backend is 'lsf'; accepted are local"),
        ((), {}, "which is no directory; export"),
        (("--stage", "two"), {}, "--stage is 'two'; accepted is an integer"),
        (("--stage", "2"), {"cmd_backend": "pbs"}, "pbs.pl is not in"),
        (("--stage", "2", "--speling", "1"), {}, "unknown option --speling"),
        (("--stage", "2", "--asr_config", "a"), {}, "--asr_config is not accepted"),
        (("--stage", "2", "--arch", "nowhere.yaml"), {}, "no file 'nowhere.yaml'"),
        (("--stage",), {}, "option --stage needs a value"),
        (("stage",), {}, "unexpected argument 'stage'"),
        (("--stage", "11"), {}, "has no statistics; run stage 10 first"),
        (("--stage", "13"), {}, "run stage 1"),
    ],
)
def test_what_cannot_work_is_said_first(recipe, options, environment, message):
    code, text = run(recipe, *options, **environment)
    assert code != 0
    assert message in text
    assert calls(recipe) == []


def test_stages_are_those_of_asr_sh_and_run_once(recipe):
    options = ("--stage", "2", "--stop_stage", "11", "--search_args", "--max_epoch 3")
    assert run(recipe, *options)[0] == 0
    first = calls(recipe)
    stages = [call.split("--stage|")[1].split("|")[0] for call in first]
    assert stages == [str(n) for n in range(2, 12)]
    assert "|--python|python3 -m espnet_stnas.run|" in first[0]
    assert "|--python|python3 -m espnet_stnas.run --search|" in first[-1]
    assert "--asr_config|conf/search.yaml|" in first[-1]
    assert "--asr_args|--max_epoch 3|" in first[-1]
    assert all("--asr_config|conf/train_asr.yaml|" in call for call in first[:-1])
    code, text = run(recipe, *options)
    assert calls(recipe) == first
    assert text.count("is complete") == 10
    # Number of jobs does not matter to what is done, units do.
    assert run(recipe, *options, "--nj", "3")[0] == 0
    assert calls(recipe) == first
    other = "bpe" if "--token_type|char" in first[0] else "char"
    assert run(recipe, *options, "--token_type", other)[0] == 0
    added = calls(recipe)[len(first) :]
    stages = [call.split("--stage|")[1].split("|")[0] for call in added]
    assert stages == [str(n) for n in range(5, 12)]


def test_another_training_with_the_same_features_repeats_nothing(recipe):
    folder, _ = recipe
    options = ("--stage", "2", "--stop_stage", "11")
    assert run(recipe, *options)[0] == 0
    first = calls(recipe)
    hybrid = "conf/tuning/train_asr_hybrid.yaml"
    assert run(recipe, *options, "--train_config", hybrid)[0] == 0
    assert calls(recipe) == first
    other = folder / "conf" / "other.yaml"
    other.write_text("frontend: default\nfrontend_conf: {n_mels: 80}\n")
    code, text = run(recipe, "--stage", "13", "--train_config", "conf/other.yaml")
    assert code == 1
    assert "has statistics of other features than conf/other.yaml" in text
    assert calls(recipe) == first


def test_a_failed_stage_says_how_to_go_on(recipe):
    (recipe[0] / "fail").touch()
    code, text = run(recipe, "--stage", "2", "--stop_stage", "3")
    assert code == 1
    assert "go on with the same options and --stage 2" in text
    assert len(calls(recipe)) == 1
    (recipe[0] / "fail").unlink()
    assert run(recipe, "--stage", "2", "--stop_stage", "3")[0] == 0
    assert len(calls(recipe)) == 3


def test_gpus_and_nodes_reach_searches_and_trainings(recipe):
    assert run(recipe, "--stage", "10", "--stop_stage", "11", "--ngpu", "4")[0] == 0
    assert (
        run(recipe, "--stage", "11", "--stop_stage", "11", "--num_nodes", "2")[0] == 0
    )
    assert all("|--ngpu|4|--num_nodes|1|" in call for call in calls(recipe)[:2])


@pytest.mark.parametrize(
    ("backend", "launcher"),
    [
        ("local", "run.pl"),
        ("stdout", "stdout.pl"),
        ("sge", "queue.pl"),
        ("pbs", "pbs.pl"),
        ("slurm", "slurm.pl"),
        ("ssh", "ssh.pl"),
    ],
)
def test_launchers(backend, launcher):
    script = 'set -eu; . ./cmd.sh; echo "${train_cmd} ${cuda_cmd} ${decode_cmd}"'
    found = subprocess.run(
        ["bash", "-c", script],
        cwd=EGS / "wsj" / "asr_stnas1",
        env={"PATH": os.environ["PATH"], "cmd_backend": backend},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == [launcher] * 3


def test_an_architecture_from_elsewhere_needs_no_search(recipe):
    """Derived into the training YAML; a training of another one is not resumed."""
    folder, _ = recipe
    arch = EGS.parent / "conf" / "architecture" / "tdnn_largest.yaml"
    options = ("--stage", "10", "--stop_stage", "13", "--arch", str(arch))
    code, text = run(recipe, *options)
    assert code == 0, text
    assert "no search, since --arch is given" in text
    stages = [call.split("--stage|")[1].split("|")[0] for call in calls(recipe)]
    assert stages == ["10", "11"]
    (derived,) = folder.glob("exp/derived_*/train.yaml")
    assert f"--asr_config|{derived.relative_to(folder)}|" in calls(recipe)[-1]
    assert "tdnn-C2D2" in derived.read_text()
    (trained,) = folder.glob("exp/asr_train*")
    (trained / "checkpoint.pth").touch()
    other = folder / "other" / arch.name
    other.parent.mkdir()
    other.write_text(arch.read_text().replace("tdnn-C2D2]", "tdnn-C1D1]"))
    code, text = run(recipe, *options[:-1], str(other))
    assert code == 1
    assert "holds a training of another" in text
    assert len(calls(recipe)) == 2
