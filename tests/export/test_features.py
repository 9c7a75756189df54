"""Exported features and normalisations equal those of ESPnet, for each utterance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.export.features import LogMel, build_features, build_norm

LENGTHS = (4001, 2750, 700)


@pytest.mark.parametrize(
    "conf",
    [
        {"fs": 8000, "n_fft": 256, "hop_length": 80, "n_mels": 20, "win_length": 200},
        {"fs": "16k", "n_fft": 511, "hop_length": 100, "window": "hamming"},
        {"center": False, "window": None, "normalized": True, "win_length": 400},
        {"fmin": 100, "fmax": 4000, "htk": True},
    ],
)
def test_log_mel(conf):
    from espnet2.asr.frontend.default import DefaultFrontend

    frontend = DefaultFrontend(**conf).eval()
    # Loud and quiet parts; what is beyond the end of an utterance does not matter.
    speech = torch.randn(3, LENGTHS[0]) * torch.logspace(-4, 0, LENGTHS[0])
    found, lengths = LogMel(frontend)(speech, torch.tensor(LENGTHS))
    for number, samples in enumerate(LENGTHS):
        one, length = speech[number : number + 1, :samples], torch.tensor([samples])
        expected, frames = frontend(one, length)
        assert lengths[number] == frames[0]
        same = found[number, : frames[0]]
        torch.testing.assert_close(same, expected[0], rtol=1e-4, atol=1e-4)
        assert not found[number, frames[0] :].any()


def test_very_short_speech_gives_numbers():
    from espnet2.asr.frontend.default import DefaultFrontend

    speech, lengths = torch.randn(3, 90), torch.tensor([90, 1, 0])
    found, frames = LogMel(DefaultFrontend())(speech, lengths)
    assert found.isfinite().all() and frames.tolist() == [1, 1, 1]
    uncentred = LogMel(DefaultFrontend(center=False))
    assert uncentred(torch.randn(2, 600), torch.tensor([600, 9]))[1].tolist() == [1, 0]


@pytest.mark.parametrize("means", [True, False])
@pytest.mark.parametrize("deviations", [True, False])
@pytest.mark.parametrize("kind", ["utterance", "global"])
def test_normalisation(kind, means, deviations, tmp_path):
    from espnet2.layers.global_mvn import GlobalMVN
    from espnet2.layers.utterance_mvn import UtteranceMVN

    if kind == "global":
        sums = {"sum": 9.0 * np.arange(1, 5), "sum_square": 99.0 * np.arange(3, 7)}
        np.savez(tmp_path / "s.npz", count=9, **sums)
        norm = GlobalMVN(tmp_path / "s.npz", means, deviations)
    else:
        norm = UtteranceMVN(means, deviations)
    frames, lengths = 3 + 2 * torch.randn(2, 9, 4), torch.tensor([9, 5])
    found = build_norm(norm)(frames, lengths)
    for number, length in enumerate(lengths.tolist()):
        one = frames[number : number + 1, :length].clone()
        expected, _ = norm(one, torch.tensor([length]))
        torch.testing.assert_close(found[number : number + 1, :length], expected)


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"apply_stft": False}, "apply_stft or onesided is false; accepted for export"),
        (
            {"frontend_conf": {"use_wpe": True}},
            "use_wpe or use_beamformer is true; accepted for export",
        ),
    ],
)
def test_other_front_ends_are_refused(conf, message):
    from espnet2.asr.frontend.default import DefaultFrontend

    with pytest.raises(ConfigError, match=f"^frontend_conf: {message}"):
        build_features(DefaultFrontend(**conf))


def test_other_classes_are_refused():
    with pytest.raises(ConfigError, match="the front end is 'Linear'; accepted for"):
        build_features(torch.nn.Linear(1, 1))
    with pytest.raises(ConfigError, match="normalisation is 'Linear'; accepted for"):
        build_norm(torch.nn.Linear(1, 1))
