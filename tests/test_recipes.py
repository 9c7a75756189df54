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
    return copy_of(request.param, tmp_path)


def copy_of(name, tmp_path):
    """A copy of a recipe beside a made-up ESPnet checkout."""
    folder = tmp_path / "egs2" / name / "asr_stnas1"
    subprocess.run(["cp", "-r", EGS / "TEMPLATE", tmp_path], check=True)
    folder.parent.mkdir(parents=True)
    subprocess.run(["cp", "-rL", EGS / name / "asr_stnas1", folder], check=True)
    template = tmp_path / "espnet" / "egs2" / "TEMPLATE" / "asr1"
    for part in ("pyscripts/audio", "scripts", "steps", "utils", "conf"):
        (template / part).mkdir(parents=True)
    (template / "pyscripts/audio/format_wav_scp.py").write_text("")
    for script in ("run.pl", "slurm.pl", "split_scp.pl"):
        (template / "utils" / script).symlink_to("/bin/true")
    for backend in ("queue", "pbs", "slurm"):
        (template / "conf" / f"{backend}.conf").write_text("")
    (template / "db.sh").write_text("WSJ0=\nWSJ1=\nSWBD=\n")
    (template / "asr.sh").write_text(ASR)
    (template / "asr.sh").chmod(0o755)
    local = tmp_path / "espnet" / "egs2" / name / "asr1" / "local"
    local.mkdir(parents=True)
    (tmp_path / "espnet" / "tools").mkdir()
    (tmp_path / "espnet" / "tools" / "extra_path.sh").write_text("")
    (tmp_path / "bin").mkdir()
    for program in ("sox", "sclite", "sph2pipe", "flac"):
        (tmp_path / "bin" / program).symlink_to("/bin/true")
    return folder, tmp_path


# Knows the names of some options and writes down how it was called.
ASR = """#!/usr/bin/env bash
asr_config= asr_exp= asr_tag= asr_args= asr_stats_dir=
asr_task=
use_lightning=
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
inference_nj=
inference_tag=
cleaner=
train_set=
valid_set=
test_sets=
bpe_train_text=
feats_type=
max_wav_duration=
local_data_opts=
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
    for name in ("WSJ0", "WSJ1", "SWBD", "LIBRISPEECH", "SPEECHOCEAN762"):
        given.setdefault(name, "")
    given = {name: value for name, value in given.items() if value is not None}
    found = subprocess.run(
        ["bash", str(folder / "run.sh"), "--ngpu", "0", *options],
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
        (("--stage", "9" * 20), {}, "--stage is '99999999999999999999'; accepted is"),
        (("--stage", "2"), {"cmd_backend": "pbs"}, "pbs.pl is not in"),
        (("--stage", "2", "--speling", "1"), {}, "unknown option --speling"),
        (("--stage", "2", "--asr_config", "a"), {}, "--asr_config is not accepted"),
        (("--stage", "2", "--arch", "nowhere.yaml"), {}, "no file 'nowhere.yaml'"),
        (("--stage", "2", "--arch", "no.yaml"), {}, "paths are relative to /"),
        (("--stage",), {}, "option --stage needs a value"),
        (("--epoch", "last"), {}, "--epoch is 'last'; accepted is a number or latest"),
        (("stage",), {}, "unexpected argument 'stage'"),
        (("--stage", "11"), {}, "has no statistics; run stage 10 first"),
        (("--stage", "13"), {}, "run stage 1"),
        (("--criterion", "crf"), {}, "--criterion is 'crf'; accepted are ctc, ctc_crf"),
        (
            ("--criterion", "ctc_crf", "--token_type", "whisper_en"),
            {},
            "no label LM for --token_type 'whisper_en'",
        ),
        (("--budget", "8M"), {}, "--budget is '8M'; accepted are params=, macs=, "),
        (
            ("--budget", "params=8M", "--arch", "a.yaml"),
            {},
            "--budget is not accepted with --arch",
        ),
        (("--select_args", "--top 1"), {}, "only accepted with --budget"),
        (("--units", "char"), {}, "--units is 'char'; accepted is phn"),
        (("--units", "phn"), {}, "--units phn needs --lexicon"),
        (("--units", "phn", "--lexicon", "a b"), {}, "there is no file 'a'"),
        (("--lexicon", "a"), {}, "--lexicon is only accepted with --units phn"),
        (("--word_lm", "a"), {}, "--word_lm is only accepted with --units phn"),
        (
            ("--units", "phn", "--lexicon", "run.sh", "--word_lm", "b"),
            {},
            "there is no file 'b'",
        ),
        (
            ("--units", "phn", "--lexicon", "run.sh", "--cleaner", "tacotron"),
            {},
            "--cleaner is not accepted with --units phn",
        ),
        (
            ("--train_config", "conf/tuning/train_asr_ctc_crf.yaml"),
            {},
            "has model ctc_crf, which needs --criterion ctc_crf",
        ),
        (
            ("--stage", "2", "--asr_task", "asr_transducer"),
            {},
            "--asr_task is 'asr_transducer'; accepted is asr",
        ),
        (
            ("--stage", "2", "--use_lightning", "true"),
            {},
            "--use_lightning is 'true', and Lightning cannot search",
        ),
        (
            ("--stage", "2", "--python", "python3"),
            {},
            "--python is 'python3'; accepted is a Python with our program",
        ),
        (
            ("--stage", "2", "--ngpu", "2"),
            {"CUDA_VISIBLE_DEVICES": ""},
            "ngpu is 2, but torch finds no CUDA device here; accepted is 0",
        ),
        (
            ("--stage", "2", "--search_config", "other.yaml"),
            {},
            "frontend is None in other.yaml and 'default' in conf/train_asr.yaml",
        ),
        (
            ("--stage", "2", "--train_config", "conf/search.yaml"),
            {},
            "training config conf/search.yaml has the key 'warmup_epochs'",
        ),
    ],
)
def test_what_cannot_work_is_said_first(recipe, options, environment, message):
    (recipe[0] / "other.yaml").write_text("encoder: stnas\n")
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
    """Those of a cluster, which need not be here."""
    options = ("--ngpu", "4", "--num_nodes", "2", "--stage", "10", "--stop_stage", "11")
    code, text = run(recipe, *options, cmd_backend="slurm")
    assert code == 0, text
    assert len(calls(recipe)) == 2
    assert all("|--ngpu|4|--num_nodes|2|" in call for call in calls(recipe))


def test_lightning_is_for_trainings(recipe):
    options = ("--stage", "10", "--stop_stage", "13", "--use_lightning", "true")
    code, text = run(recipe, *options, "--arch", str(LARGEST))
    assert code == 0, text
    assert option_of(calls(recipe)[-1], "use_lightning") == "true"


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


def test_a_budget_selects(recipe):
    """With a name of its own; without one, the paper's way."""
    folder, root = recipe
    python = root / "bin" / "python3"
    python.write_text(f"""#!/usr/bin/env bash
case " $* " in
    *" select "*|*" derive "*|*" report "*) echo "$*" >> programs ;;
    *) exec {sys.executable} "$@" ;;
esac
case " $* " in *" select "*) exit 3 ;; esac
""")
    python.chmod(0o755)
    stage = ("--stage", "12", "--stop_stage", "12")
    options = ("--budget", "params=80% lookahead=20", "--select_args", "--device cuda")
    code, text = run(recipe, *stage, *options, "--epoch", "7")
    assert code == 0, text  # 3: from an untrained supernet
    assert run(recipe, *stage)[0] == 0
    chosen, _, derived, _ = (folder / "programs").read_text().splitlines()
    assert "select exp/search_" in chosen
    assert "--epoch 7 --max params=80% --max lookahead=20 --device cuda" in chosen
    (place,) = folder.glob("exp/derived_*_params80lookahead20")
    assert f"--train_output {place.relative_to(folder)}/train.yaml" in chosen
    assert " derive exp/search_" in derived and "--epoch latest" in derived


LARGEST = EGS.parent / "conf" / "architecture" / "tdnn_largest.yaml"
PHN = ("--units", "phn", "--lexicon", "lexicon.txt", "--unk_phn", "SPN")
TEXTS = {"a": "go there", "b": "come", "sp0.9-a": "go there"}


def stages_of(lines):
    return [line.split("--stage|")[1].split("|")[0] for line in lines]


def option_of(line, name):
    """The last value that a call gives to an option."""
    return line.rsplit(f"|--{name}|", 1)[1].split("|")[0]


@pytest.fixture
def dumped(recipe):
    """After stage 4: texts of words, and a lexicon."""
    folder, _ = recipe
    script = (folder / "run.sh").read_text()
    sets = {
        k: script.split(f"--{k} ")[1].split()[0] for k in ("train_set", "valid_set")
    }
    for name in (f"{sets['train_set']}_sp", sets["valid_set"]):
        data = folder / "dump" / "raw" / name
        data.mkdir(parents=True)
        lines = [f"{key} {words}\n" for key, words in sorted(TEXTS.items())]
        (data / "text").write_text("".join(lines))
        (data / "wav.scp").write_text("".join(f"{key} {key}.wav\n" for key in TEXTS))
    (folder / "lexicon.txt").write_text("go G OW\nthere DH EH R\ncome K AH M\n")
    return folder, f"{sets['train_set']}_sp"


def test_phones_take_the_place_of_words(recipe, dumped):
    folder, train_set = dumped
    code, text = run(recipe, "--stage", "4", "--stop_stage", "11", *PHN)
    assert code == 0, text
    lines = calls(recipe)
    assert stages_of(lines) == ["4", "10", "11"]
    # The words stay for other units; trainings see phones.
    assert [option_of(line, "dumpdir") for line in lines] == ["dump", *["dump_phn"] * 2]
    data = folder / "dump_phn" / "raw" / train_set
    assert (data / "text").read_text().splitlines()[:2] == [
        "a G OW DH EH R",
        "b K AH M",
    ]
    assert (data / "wav.scp").read_text() == "".join(f"{k} {k}.wav\n" for k in TEXTS)
    for line in lines:
        assert option_of(line, "token_type") == "word"
        assert option_of(line, "use_lm") == "false"
    tokens = (
        folder / "data" / f"{option_of(lines[-1], 'lang')}_token_list/word/tokens.txt"
    )
    assert tokens.read_text().split() == [
        *("<blank>", "<unk>", "AH", "DH", "EH", "G", "K", "M", "OW", "R", "SPN"),
        "<sos/eos>",
    ]
    assert option_of(lines[-1], "asr_exp") == "exp/search_phn_sp"
    assert option_of(lines[-1], "asr_stats_dir") == "exp/asr_stats_raw_phn_sp"
    # Once is enough, and other units share what comes before.
    code, text = run(recipe, "--stage", "4", "--stop_stage", "11", *PHN)
    assert code == 0
    assert calls(recipe) == lines
    assert run(recipe, "--stage", "4", "--stop_stage", "5")[0] == 0
    assert stages_of(calls(recipe)[len(lines) :]) == ["5"]
    assert option_of(calls(recipe)[-1], "dumpdir") == "dump"


def test_phones_of_two_lexicons_do_not_meet(recipe, dumped):
    folder, _ = dumped
    assert run(recipe, "--stage", "5", "--stop_stage", "10", *PHN)[0] == 0
    with open(folder / "lexicon.txt", "a") as file:
        file.write("went W EH N T\n")
    for stage in ("5", "10", "11", "12", "13"):
        code, text = run(recipe, "--stage", stage, "--stop_stage", stage, *PHN)
        assert code == 1
        assert "was made with another lexicon or --unk_phn" in text
    assert stages_of(calls(recipe)) == ["10"]
    # Without the old ones, they are made.
    subprocess.run(["rm", "-r", folder / "dump_phn"], check=True)
    code, text = run(recipe, "--stage", "5", "--stop_stage", "5", *PHN)
    assert code == 1
    assert "_phn_token_list/word was made with another lexicon" in text
    (old,) = folder.glob("data/*_phn_token_list")
    subprocess.run(["rm", "-r", old], check=True)
    assert run(recipe, "--stage", "5", "--stop_stage", "5", *PHN)[0] == 0
    assert (folder / "dump_phn" / "raw").is_dir()
    assert "\nW\n" in (old / "word" / "tokens.txt").read_text()


@pytest.mark.parametrize(
    ("lexicon", "unknown", "message"),
    [
        ("go G OW\ncome K AH M\n", (), "words that are not in lexicon"),
        ("GO G OW\nCOME K AH M\n", ("--unk_phn", "SPN"), "is one in upper case"),
    ],
)
def test_texts_that_the_lexicon_does_not_cover(
    recipe, dumped, lexicon, unknown, message
):
    (dumped[0] / "lexicon.txt").write_text(lexicon)
    options = (*PHN[:4], *unknown, "--stage", "5", "--stop_stage", "10")
    code, text = run(recipe, *options)
    assert code == 1
    assert message in text
    assert "go on with the same options and --stage 5" in text
    assert calls(recipe) == []


def test_a_missing_decoder_is_said_first(recipe, dumped):
    broken = recipe[1] / "broken" / "flashlight"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('none here')\n")
    environment = {"PYTHONPATH": str(broken.parent)}
    code, text = run(recipe, "--stage", "2", *PHN, **environment)
    assert code == 1
    assert "needs the package flashlight-text" in text
    assert calls(recipe) == []
    # Who does not decode does not need it.
    assert run(recipe, "--stage", "5", "--stop_stage", "5", *PHN, **environment)[0] == 0


@pytest.mark.parametrize(
    ("recipe", "units"), [("wsj", ""), ("swbd", "phn")], indirect=["recipe"]
)
def test_ctc_crf_is_another_training(recipe, dumped, units):
    """With a label LM of each text once, and a name of its own."""
    folder, _ = dumped
    options = ("--arch", str(LARGEST), "--stage", "5", "--stop_stage", "13")
    if units:
        # Its symbols are of words, not of phones; there is no such file.
        options += (*PHN, "--nlsyms_txt", "data/nlsyms.txt")
    else:
        options += ("--token_type", "char")
        tokens = folder / "data" / "en_token_list" / "char" / "tokens.txt"
        tokens.parent.mkdir(parents=True)
        symbols = [
            "<blank>",
            "<unk>",
            "<space>",
            *sorted(set("gotherecom")),
            "<sos/eos>",
        ]
        tokens.write_text("\n".join(symbols) + "\n")
        (folder / "data" / "nlsyms.txt").write_text("<NOISE>\n")
    assert run(recipe, *options)[0] == 0
    crf = ("--criterion", "ctc_crf", "--label_lm_args", "--order 2")
    code, text = run(recipe, *options, *crf)
    assert code == 0, text
    assert "2-grams" in text and "3-grams" not in text and "perplexity of" in text
    first, second = calls(recipe)[-2:]
    assert stages_of([first, second]) == ["11", "11"]
    # The search and its statistics are the same.
    assert stages_of(calls(recipe)).count("10") == 1
    suffix = f"{units or 'char'}_sp_tdnn_largest"
    assert option_of(first, "asr_exp") == f"exp/asr_train_asr_{suffix}"
    assert option_of(second, "asr_exp") == f"exp/asr_train_asr_ctc_crf_{suffix}"
    derived = folder / f"exp/derived_train_asr_ctc_crf_{suffix}"
    assert option_of(second, "asr_config") == str(
        (derived / "train.yaml").relative_to(folder)
    )
    yaml = (derived / "train.yaml").read_text()
    assert "model: ctc_crf" in yaml and "base64," in yaml and "tdnn-C2D2" in yaml
    assert len((derived / "label_lm.txt").read_text().splitlines()) == 2
    # Nothing to do the second time.
    assert run(recipe, *options, *crf)[0] == 0
    assert calls(recipe)[-1] == second


def test_words_are_decoded_with_lexicon_and_scored_with_the_words(recipe, dumped):
    folder, root = recipe
    options = (*PHN, "--arch", str(LARGEST), "--stage", "5", "--stop_stage", "13")
    assert run(recipe, *options)[0] == 0
    (folder / "lm.arpa.gz").write_text("")
    tests = "org/test_dev93 test_eval92" if "wsj" in str(folder) else "eval2000"
    for name in tests.split():
        data = folder / "dump" / "raw" / name
        data.mkdir(parents=True)
        (data / "wav.scp").write_text("b b.wav\nc c.wav\n")
    (root / "espnet/egs2/TEMPLATE/asr1/utils/run.pl").unlink()
    launcher = root / "espnet/egs2/TEMPLATE/asr1/utils/run.pl"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    options = (*options[:-4], "--stage", "14", "--stop_stage", "15")
    options += ("--word_lm", "lm.arpa.gz", "--decode_args", "--beam_size 9")
    code, text = run(recipe, *options)
    assert code == 0, text
    tag = "decode_lexicon_lm_beam_size9_asr_model_valid.loss.ave"
    exp = folder / f"exp/asr_train_asr_phn_sp_tdnn_largest/{tag}"
    for name in tests.split():
        assert (exp / name / "text").read_text() == "b 2\nc 1\n"
    launched = (folder / "launched").read_text().splitlines()
    assert len(launched) == len(tests.split())
    kind = "sound" if "wsj" in str(folder) else "kaldi_ark"
    assert f"|dump/raw/{tests.split()[0]}/wav.scp,speech,{kind}|" in launched[0]
    assert "|--lexicon|lexicon.txt|" in launched[0]
    assert "|--beam_size|9|--word_lm|lm.arpa.gz" in launched[0]
    scored = calls(recipe)[-1]
    assert stages_of([scored]) == ["13"]
    assert option_of(scored, "inference_tag") == tag
    assert option_of(scored, "dumpdir") == "dump"
    # What was scored is reported; here, nothing was trained.
    assert "There is no report with these results" in text
    # Another weight is another decoding, in a directory of its own.
    assert run(recipe, *options[:-1], "--lm_weight 2")[0] == 0
    assert option_of(calls(recipe)[-1], "inference_tag") == tag.replace(
        "beam_size9", "lm_weight2"
    )


# Decodes: the number of the job, in the place of words.
LAUNCHER = """#!/usr/bin/env bash
printf '%s|' "$@" >> launched
echo >> launched
while [ $# -gt 0 ]; do
    case $1 in
        JOB=*) last=${1#JOB=1:} ;;
        --output) output=$2 ;;
    esac
    shift
done
names=(- c b)
for ((job = 1; job <= last; job++)); do
    dir=${output/JOB/${job}}/1best_recog
    mkdir -p "${dir}"
    for name in text token token_int score; do
        echo "${names[job]} ${job}" > "${dir}/${name}"
    done
done
"""
