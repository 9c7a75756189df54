"""Messages name what happened in one line, also after a detour through a worker."""

from __future__ import annotations

import pickle

import pytest
import soundfile
from torch._utils import ExceptionWrapper

from espnet_stnas.errors import ConfigError, DataError
from espnet_stnas.messages import one_line, reason


class PickyError(Exception):
    """Cannot be made from one text, so torch raises another error instead."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} of {second}")


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise TypeError("an integer is required")


ERRORS = [
    (ValueError("a: b"), "ValueError: a: b"),
    (ValueError("two\nlines: of it\n  with spaces"), "ValueError: two lines: of it wi"),
    (KeyError("utt1"), "KeyError: 'utt1'"),
    (PickyError(1, 2), "PickyError: 1 of 2"),
    (ConfigError("a sentence"), "ConfigError: a sentence"),
    (
        soundfile.LibsndfileError(2, "Error opening 'a.wav': "),
        "LibsndfileError: Error opening 'a.wav': System error",
    ),
    (AssertionError(), "AssertionError"),
    (UnspeakableError("words"), "UnspeakableError: "),
]


def raised_in_a_worker(error: Exception) -> Exception:
    """What the main process gets, by torch's own code."""
    try:
        raise error
    except Exception:
        wrapper = ExceptionWrapper(where="in DataLoader worker process 0")
    try:
        pickle.loads(pickle.dumps(wrapper)).reraise()
    except Exception as anew:
        return anew
    raise AssertionError("torch raised nothing")


@pytest.mark.parametrize(("error", "expected"), ERRORS, ids=lambda e: repr(e)[:20])
def test_reasons(error, expected):
    """The class and the message, wherever it was raised."""
    for found in (reason(error), reason(raised_in_a_worker(error))):
        assert found.isprintable()
        assert found.startswith(expected)
        assert "Traceback" not in found


def test_data_errors_stay_one_sentence():
    sentence = "utterance 'a' of wav.scp cannot be read (KeyError: 'a': Traceback)"
    anew = raised_in_a_worker(DataError(sentence))
    assert type(anew) is DataError
    assert str(anew) == sentence == one_line(anew)
