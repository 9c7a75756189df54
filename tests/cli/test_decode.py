"""From a trained model to words, with a lexicon and perhaps a word LM."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from espnet2.fileio.read_text import read_2columns_text as read_text

import espnet_stnas  # noqa: F401  (registers the encoder)
from espnet_stnas.cli.main import main as stnas
from tests.ctc_crf.decoding.search import needs_flashlight
from tests.search.conftest import TOKENS, command, corpus, search_config  # noqa: F401

needs_flashlight()

# Words of the corpus are of three letters.
SINGLE = "A a\nB b\nC c\nU <unk>\n"


@pytest.fixture(scope="module")
def exp(corpus, tmp_path_factory) -> Path:  # noqa: F811
    """A training of ESPnet."""
    from espnet2.bin import asr_train

    config = search_config(max_epoch=1)
    config["encoder_conf"] = {"layers": ["tdnn-C1S3D1", "tdnn-C1D2"], "width": 6}
    for option in ("optim2", "optim2_conf", "warmup_epochs", "arch_fraction"):
        del config[option]
    output_dir = tmp_path_factory.mktemp("exp") / "asr"
    asr_train.main(command(corpus, output_dir, config))
    # After so little, all outputs are blanks. Random ones tell more.
    weights = torch.load(output_dir / "1epoch.pth", weights_only=True)
    torch.manual_seed(0)
    weights["ctc.ctc_lo.weight"].normal_(0, 2)
    weights["ctc.ctc_lo.bias"].zero_()
    torch.save(weights, output_dir / "1epoch.pth")
    return output_dir


def decode(exp: Path, data: Path, output: Path, lexicon: str, *options: str) -> Path:
    """Run the command; the directory of the best hypotheses."""
    output.mkdir(exist_ok=True)
    (output / "lexicon.txt").write_text(lexicon)
    source = () if "--data_path_and_name_and_type" in options else ("--data_dir", data)
    stnas(
        [
            "decode",
            *(str(exp), "--model_file", "1epoch.pth"),
            *("--lexicon", str(output / "lexicon.txt"), "--num_workers", "0"),
            *("--output", str(output), *map(str, (*source, *options))),
        ]
    )
    return output / "1best_recog"


@torch.no_grad()
def greedy(exp: Path, data: Path) -> dict[str, str]:
    """The best token of each frame, without <sos/eos>, in the way of CTC."""
    from espnet2.tasks.asr import ASRTask

    files = str(exp / "config.yaml"), str(exp / "1epoch.pth")
    model, _ = ASRTask.build_model_from_file(*files, "cpu")
    model.eval()
    found = {}
    for name, wav in read_text(data / "wav.scp").items():
        speech = torch.from_numpy(soundfile.read(wav, dtype="float32")[0])[None]
        encoded, _ = model.encode(speech, torch.tensor([speech.shape[1]]))
        best = model.ctc.log_softmax(encoded)[0, :, :-1].argmax(1).tolist()
        found[name] = " ".join(TOKENS[t] for t, _ in groupby(best) if t)
    return found


def test_words_of_one_unit_are_those_of_greedy_decoding(
    corpus,  # noqa: F811
    exp,
    tmp_path,
    capsys,
):
    found = decode(exp, corpus / "train", tmp_path, SINGLE)
    expected = greedy(exp, corpus / "train")
    assert len({*expected.values()}) > 1
    assert read_text(found / "token") == expected
    names = dict(line.split()[::-1] for line in SINGLE.splitlines())
    assert read_text(found / "text") == {
        utterance: " ".join(names[token] for token in tokens.split())
        for utterance, tokens in expected.items()
    }
    last = capsys.readouterr().err.split("\r")[-1]
    assert last.startswith("decoding: 100%") and " 24/24 " in last


def test_with_a_word_lm_that_label_lm_has_made(corpus, exp, tmp_path, capsys):  # noqa: F811
    words = {w for w in read_text(corpus / "train" / "text").values()}
    lexicon = "".join(f"{word} {' '.join(word)}\n" for word in sorted(words))
    (tmp_path / "words.txt").write_text("\n".join(["<blank>", *sorted(words)]) + "\n")
    lm = str(tmp_path / "lm.arpa.gz")
    stnas(
        [
            "label-lm",
            *("--token_list", str(tmp_path / "words.txt"), "--token_type", "word"),
            *(str(corpus / "train" / "text"), "--order", "2"),
            *("--output", lm),
        ]
    )
    text = corpus / "train" / "text"
    options = ("--word_lm", lm, "--nbest", "3", "--ref", text)
    options += ("--lm_weight", "2")
    found = decode(exp, corpus / "train", tmp_path / "out", lexicon, *options)
    printed = capsys.readouterr().out
    assert re.search(r"^WER \d+\.\d\d % .*; 24 words\), .*24 utter", printed, re.M)
    said = read_text(found / "text")
    assert list(said) == list(read_text(text))
    assert {word for line in said.values() for word in line.split()} <= words
    second = found.parent / "2best_recog"
    scores, others = read_text(found / "score"), read_text(second / "score")
    assert others and all(float(scores[u]) >= float(others[u]) for u in others)
    tokens = read_text(found / "token")
    joined = {u: t.replace(" ", "") for u, t in tokens.items()}
    assert joined == {u: line.replace(" ", "") for u, line in said.items()}
    columns = read_text(found / "token_int")
    for utterance, units in tokens.items():
        numbers = map(int, columns[utterance].split())
        assert [TOKENS[n] for n in numbers] == units.split()
    # The LM has seen one word in each utterance.
    without = decode(exp, corpus / "train", tmp_path / "without", lexicon)
    assert number(said) < number(read_text(without / "text"))


def number(texts: dict[str, str]) -> int:
    """How many words texts have."""
    return sum(len(text.split()) for text in texts.values())


def test_parts_of_a_test_set(corpus, exp, tmp_path):  # noqa: F811
    dev = corpus / "dev"
    whole = decode(exp, dev, tmp_path / "whole", SINGLE)
    lines = (dev / "wav.scp").read_text().splitlines()
    source = f"{dev / 'wav.scp'},speech,sound"
    merged: dict[str, str] = {}
    for place, part in enumerate((lines[:2], lines[2:])):
        keys = tmp_path / f"keys.{place}"
        keys.write_text("\n".join(part) + "\n")
        options = ("--key_file", keys, "--data_path_and_name_and_type", source)
        found = decode(exp, dev, tmp_path / str(place), SINGLE, *options)
        merged.update(read_text(found / "text"))
    assert merged == read_text(whole / "text")


def test_what_the_model_cannot_take(corpus, exp, tmp_path):  # noqa: F811
    generator = np.random.default_rng(0)
    for name, samples in (("good", 3000), ("short", 8)):
        wav = 0.1 * generator.standard_normal(samples)
        soundfile.write(tmp_path / f"{name}.wav", wav, 8000)
    (tmp_path / "bad.wav").write_text("no sound")
    for name, problem in (
        ("short", r"utterance 'short': the model cannot take speech of shape \(1, 8\)"),
        ("bad", "utterance 'bad' of .*wav.scp cannot be read"),
        ("missing", "utterance 'missing' of .*wav.scp cannot be read"),
    ):
        rows = (f"{n} {tmp_path / n}.wav\n" for n in ("good", name))
        (tmp_path / "wav.scp").write_text("".join(rows))
        with pytest.raises(SystemExit, match=problem):
            decode(exp, tmp_path, tmp_path / "out", SINGLE)
    assert not (tmp_path / "out" / "1best_recog").exists()


def test_a_worker_process_names_the_file(corpus, exp, tmp_path):  # noqa: F811
    """Torch makes the error anew here, and its message cannot be read."""
    good = (corpus / "train" / "wav.scp").read_text().splitlines()[0]
    (tmp_path / "wav.scp").write_text(f"{good}\nz {tmp_path}/missing.wav\n")
    message = rf"^error: utterance 'z' of .*wav.scp .*'{tmp_path}/missing.wav': System"
    with pytest.raises(SystemExit, match=message):
        decode(exp, tmp_path, tmp_path / "out", SINGLE, "--num_workers", "1")


@pytest.mark.parametrize(
    "lexicon, options, problem",
    [
        (
            "A a\nD d\n",
            (),
            "line 2: word 'D' has the unit 'd', .*units of the tr",
        ),
        ("", (), "holds no word"),
        (SINGLE, ("--word_lm", "/nothing"), "word LM /nothing does not exist"),
        (SINGLE, ("--ref", "{corpus}/dev/text"), "dev/text .*lacks 'train00'"),
        (SINGLE, ("--key_file", "{corpus}/dev/text"), "6 utterances that are not in"),
        (SINGLE, ("--nbest", "0"), "nbest is 0"),
        (SINGLE, ("--num_workers", "-1"), "num_workers is -1"),
        (SINGLE, ("--model_file", "/nothing"), "/nothing does not exist; is the"),
        (SINGLE, ("--model_file", "{corpus}/tokens.txt"), "no ASR model can be"),
        (SINGLE, ("--data_path_and_name_and_type", "a,b"), "2"),
    ],
)
def test_what_is_refused(corpus, exp, tmp_path, lexicon, options, problem):  # noqa: F811
    options = [option.format(corpus=corpus) for option in options]
    with pytest.raises(SystemExit, match=problem):
        decode(exp, corpus / "train", tmp_path / "out", lexicon, *options)
    assert not (tmp_path / "out" / "1best_recog").exists()


def test_a_model_without_ctc(corpus, exp, tmp_path):  # noqa: F811
    config = yaml.safe_load((exp / "config.yaml").read_text())
    config["model_conf"]["ctc_weight"] = 0.0
    config["decoder"] = "rnn"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "1epoch.pth").write_bytes((exp / "1epoch.pth").read_bytes())
    with pytest.raises(SystemExit, match="has no CTC output .ctc_weight is 0.; acc"):
        decode(tmp_path, corpus / "train", tmp_path / "out", SINGLE)
