"""Speech from libespeak-ng through ctypes, one independent utterance at a time.

eSpeak NG is a GPL-3 program; nothing of it is part of this package. The library and
its data come with the optional package espeakng-loader and are loaded at run time.
"""

from __future__ import annotations

import _ctypes
import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples go to the callback, no threads
_RATE, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7  # espeak_PARAMETER
_UTF8 = 1  # espeakCHARS_UTF8
_MISSING = (
    "Synthetic speech needs the package espeakng-loader, which is not installed: "
    "run `pip install espnet-stnas[demo]`."
)
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@dataclass(frozen=True)
class Voice:
    """How one speaker talks.

    Args:
        name: Voice and variant, such as ``en+f3``.
        rate: Words per minute, 80 to 450.
        pitch: 0 to 99; 50 is the pitch the variant was designed with.
        pitch_range: 0 (monotone) to 99.
        word_gap: Pause between words, in units of 10 ms at the default rate.
    """

    name: str
    rate: int
    pitch: int
    pitch_range: int
    word_gap: int


class Espeak:
    """Synthesiser whose output depends on nothing but the arguments of a call.

    The library keeps oscillator phases and flutter in static variables that neither
    ``espeak_Terminate`` nor a new voice resets, so each utterance would depend on the
    ones before it. Unloading and loading the library (3 ms) is what resets them.

    Raises:
        ModuleNotFoundError: espeakng-loader is not installed.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(_MISSING) from error
        self._library_path = espeakng_loader.get_library_path()
        self._data_path = Path(espeakng_loader.get_data_path())
        self._chunks: list[bytes] = []
        self._callback = _Callback(self._receive)  # must outlive every synthesis

    @property
    def variants(self) -> frozenset[str]:
        """Names that may follow ``en+``; unknown ones fall back without an error."""
        return frozenset(
            path.name for path in (self._data_path / "voices/!v").iterdir()
        )

    def synthesise(self, text: str, voice: Voice, seed: int) -> tuple[np.ndarray, int]:
        """Speak a text.

        Args:
            text: What to say.
            voice: Who says it.
            seed: Seed of the library's own random numbers, below 2**31.

        Returns:
            Samples (time,) in float64 within [-1, 1), and the sample rate in Hz.

        Raises:
            RuntimeError: The library refused a call, such as an unknown voice.
        """
        library = ctypes.CDLL(self._library_path)
        try:
            sample_rate = self._start(library, voice, seed)
            self._chunks.clear()
            spoken = text.encode()
            status = library.espeak_Synth(
                spoken, ctypes.c_size_t(len(spoken) + 1), 0, 1, 0, _UTF8, None, None
            )
            _check(status, f"espeak_Synth of {text!r}")
        finally:
            library.espeak_Terminate()
            _unload(library)
        pcm = np.frombuffer(b"".join(self._chunks), dtype=np.int16)
        return pcm / 32768.0, sample_rate

    def version(self) -> str:
        """Version of the library, such as ``1.52.0``."""
        library = ctypes.CDLL(self._library_path)
        library.espeak_Info.restype = ctypes.c_char_p
        version = library.espeak_Info(None).decode()
        _unload(library)
        return version

    def _start(self, library: ctypes.CDLL, voice: Voice, seed: int) -> int:
        data_path = str(self._data_path).encode()
        sample_rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data_path, 0)
        if sample_rate <= 0:
            raise RuntimeError(f"espeak_Initialize failed with data in {data_path!r}.")
        library.espeak_SetSynthCallback(self._callback)
        _check(library.espeak_SetVoiceByName(voice.name.encode()), f"voice {voice}")
        settings = {
            _RATE: voice.rate,
            _VOLUME: 100,
            _PITCH: voice.pitch,
            _RANGE: voice.pitch_range,
            _WORD_GAP: voice.word_gap,
        }
        for parameter, value in settings.items():
            _check(library.espeak_SetParameter(parameter, value, 0), f"voice {voice}")
        library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        return sample_rate

    def _receive(self, samples: ctypes._Pointer, count: int, _events: int) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0


def _check(status: int, what: str) -> None:
    if status != 0:
        raise RuntimeError(f"libespeak-ng refused {what} with status {status}.")


def _unload(library: ctypes.CDLL) -> None:
    # ctypes itself offers no way to unload.
    unload = "FreeLibrary" if os.name == "nt" else "dlclose"
    getattr(_ctypes, unload)(library._handle)
