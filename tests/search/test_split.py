from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_stnas.errors import ConfigError
from espnet_stnas.search.split import split_utterances, write_split

UTTERANCES = [f"spk{s}-utt{u:02d}" for s in range(3) for u in range(20)]


@given(
    st.sets(st.text("abc-019", min_size=1, max_size=6), min_size=2, max_size=40),
    st.floats(0.01, 0.99),
    st.integers(0, 3),
)
def test_split_is_a_partition(utterances, fraction, seed):
    try:
        parts = split_utterances(sorted(utterances), fraction, seed)
    except ConfigError as error:
        assert "each needs at least one" in str(error)
        return
    assert set(parts["weights"]) | set(parts["architecture"]) == utterances
    assert not set(parts["weights"]) & set(parts["architecture"])
    assert all(parts.values())


def test_split_depends_on_ids_and_seed_only():
    one = split_utterances(UTTERANCES, 0.25, 3)
    assert one == split_utterances(UTTERANCES[::-1], 0.25, 3)
    assert one != split_utterances(UTTERANCES, 0.25, 4)
    assert len(one["architecture"]) == 15


def test_speed_perturbed_copies_stay_together():
    copies = [f"sp{f}-{u}" for f in ("0.9", "1.1") for u in UTTERANCES]
    parts = split_utterances(UTTERANCES + copies, 0.25, 0)
    assert len(parts["architecture"]) == 45
    for utterance in UTTERANCES:
        family = {utterance, f"sp0.9-{utterance}", f"sp1.1-{utterance}"}
        assert family <= set(parts["architecture"]) or family <= set(parts["weights"])


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), "0.1", True])
def test_impossible_fractions(fraction):
    with pytest.raises(ConfigError, match=f"arch_fraction is {fraction!r}; accepted"):
        split_utterances(UTTERANCES, fraction, 0)


def test_split_that_leaves_nothing():
    with pytest.raises(ConfigError, match="leaves 0 for architecture steps and 4 for"):
        split_utterances(list("abcd"), 0.1, 0)
    with pytest.raises(ConfigError, match="leaves 4 for architecture steps and 0 for"):
        split_utterances(list("abcd"), 0.9, 0)


def shape_files(tmp_path):
    speech, text = tmp_path / "speech_shape", tmp_path / "text_shape"
    speech.write_text("".join(f"{u} {i + 100}\n" for i, u in enumerate(UTTERANCES)))
    text.write_text("".join(f"{u} {i},30\n" for i, u in enumerate(UTTERANCES)))
    return [str(speech), str(text)]


def test_written_files_are_shape_files(tmp_path):
    exp = tmp_path / "exp"
    files = write_split(shape_files(tmp_path), exp, fraction=0.2, seed=0)
    lines = {
        role: [open(path).read().splitlines() for path in paths]
        for role, paths in files.items()
    }
    assert [len(x) for x in lines["architecture"]] == [12, 12]
    assert [len(x) for x in lines["weights"]] == [48, 48]
    assert files["weights"][1] == str(exp / "split" / "weights" / "text_shape")
    original = open(tmp_path / "text_shape").read().splitlines()
    assert sorted(lines["weights"][1] + lines["architecture"][1]) == sorted(original)


def test_another_split_than_that_of_the_checkpoint_is_refused(tmp_path):
    exp, files = tmp_path / "exp", shape_files(tmp_path)
    write_split(files, exp, fraction=0.2, seed=0)
    write_split(files, exp, fraction=0.3, seed=0)  # nothing trained yet
    (exp / "checkpoint.pth").touch()
    write_split(files, exp, fraction=0.3, seed=0)
    with pytest.raises(ConfigError, match="holds another split than arch_fraction, se"):
        write_split(files, exp, fraction=0.2, seed=0)


def test_bad_shape_files(tmp_path):
    with pytest.raises(ConfigError, match="train_shape_file is empty"):
        write_split([], tmp_path, fraction=0.1, seed=0)
    with pytest.raises(
        ConfigError, match=r"train_shape_file nowhere does not exist \(--collect_stats"
    ):
        write_split(["nowhere"], tmp_path, fraction=0.1, seed=0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("utt1 100\nutt2\n", "the utterance 'utt2' has the shape ''; accepted are int"),
        ("utt1 100\nutt2 1,x\n", "the utterance 'utt2' has the shape '1,x'"),
        ("utt1 100\nutt2 9\nutt1 99\n", "line 3: the utterance 'utt1' is there twice"),
        ("", "holds no utterance"),
    ],
)
def test_damaged_shape_files(tmp_path, text, problem):
    (tmp_path / "shape").write_text(text)
    with pytest.raises(ConfigError, match=f"train_shape_file .*shape.*{problem}"):
        write_split([str(tmp_path / "shape")], tmp_path, fraction=0.5, seed=0)
    assert not (tmp_path / "split").exists()


def test_two_shape_files_of_one_name(tmp_path):
    """As of two corpora: the second one would overwrite the first."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    files = [shape_files(tmp_path / name)[0] for name in ("a", "b")]
    with pytest.raises(
        ConfigError, match="is both .*a/speech_shape and .*b/speech_shape; accepted are"
    ):
        write_split(files, tmp_path, fraction=0.5, seed=0)
    assert not (tmp_path / "split").exists()
