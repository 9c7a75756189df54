"""ESPnet's log-mel features and their normalisation, in operations that ONNX has."""

from __future__ import annotations

import math
from typing import Any

import torch

from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote
from espnet_stnas.ops.lengths import zero_padding

_LEAST_POWER = 1e-10  # of ESPnet's LogMel


class LogMel(torch.nn.Module):
    """The same features as ESPnet's ``frontend: default``, without complex numbers.

    The Fourier transform of the windowed frames is one convolution. Every utterance is
    mirrored at its own end, so that its features do not depend on the batch: they are
    those that ESPnet computes for the utterance alone.

    Args:
        frontend: An ``espnet2.asr.frontend.default.DefaultFrontend``.

    Raises:
        ConfigError: If it does more than that.
    """

    basis: torch.Tensor
    mel: torch.Tensor

    def __init__(self, frontend: Any) -> None:
        super().__init__()
        stft = frontend.stft
        enhancement = frontend.frontend
        if stft is None or not stft.onesided:
            raise ConfigError(
                "frontend_conf: apply_stft or onesided is false; accepted for export "
                "is true, or --input features"
            )
        if enhancement is not None and (
            enhancement.use_wpe or enhancement.use_beamformer
        ):
            raise ConfigError(
                "frontend_conf: use_wpe or use_beamformer is true; accepted for export "
                "is speech of one channel without both, or --input features"
            )
        self.size: int = stft.n_fft
        self.hop: int = stft.hop_length
        self.center: bool = stft.center
        self.log_base = frontend.logmel.log_base
        self.register_buffer("basis", _fourier_basis(stft))
        self.register_buffer("mel", frontend.logmel.melmat.detach().clone())

    def forward(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute features.

        Args:
            speech: Samples (B, S).
            lengths: Valid samples (B,).

        Returns:
            Features (B, T, D), zero where padded, and valid frames (B,).
        """
        pad = self.size // 2 if self.center else 0
        if self.center:
            speech = _mirrored(speech, lengths, pad)
        parts = torch.nn.functional.conv1d(
            speech.unsqueeze(1), self.basis, stride=self.hop
        )
        real, imaginary = parts.chunk(2, dim=1)
        power = (real.square() + imaginary.square()).transpose(1, 2)  # (B, T, F)
        mel = torch.matmul(power, self.mel).clamp(min=_LEAST_POWER).log()
        if self.log_base is not None:
            mel = mel / math.log(self.log_base)
        frames = ((lengths + 2 * pad - self.size) // self.hop + 1).clamp(min=0)
        return zero_padding(mel, frames), frames

    def samples(self, frames: int) -> int:
        """Return how many samples give so many frames."""
        return self.hop * (frames - 1) + (1 if self.center else self.size)


def _fourier_basis(stft: Any) -> torch.Tensor:
    """Return the windowed cosines and sines (2F, 1, N) of torch.stft.

    Args:
        stft: ESPnet's ``Stft``.
    """
    if stft.window is None:
        window = torch.ones(stft.win_length, dtype=torch.double)
    else:
        name = f"{stft.window}_window"
        # ESPnet's window is of float32, and so is the one that the weights are used to.
        window = getattr(torch, name)(stft.win_length, dtype=torch.float).double()
    before = (stft.n_fft - stft.win_length) // 2
    whole = torch.zeros(stft.n_fft, dtype=torch.double)
    whole[before : before + stft.win_length] = window
    samples = torch.arange(stft.n_fft, dtype=torch.double)
    bins = torch.arange(stft.n_fft // 2 + 1, dtype=torch.double)
    # Modulo N before the factor keeps the angles exact.
    angles = 2 * math.pi / stft.n_fft * (bins.unsqueeze(1) * samples % stft.n_fft)
    basis = torch.cat([angles.cos(), -angles.sin()]) * whole
    if stft.normalized:
        basis = basis / math.sqrt(stft.n_fft)
    return basis.float().unsqueeze(1)


def _mirrored(speech: torch.Tensor, lengths: torch.Tensor, pad: int) -> torch.Tensor:
    """Continue each utterance (B, S) by its mirror image on both sides: (B, S + 2P)."""
    places = torch.arange(speech.size(1) + 2 * pad, device=speech.device) - pad
    places = places.abs().unsqueeze(0)
    last = lengths.unsqueeze(1) - 1
    places = last - (last - places).abs()
    return speech.gather(1, places.clamp(min=0))


class UtteranceNorm(torch.nn.Module):
    """ESPnet's ``normalize: utterance_mvn``.

    Args:
        normalize: An ``espnet2.layers.utterance_mvn.UtteranceMVN``.
    """

    def __init__(self, normalize: Any) -> None:
        super().__init__()
        self.means: bool = normalize.norm_means
        self.deviations: bool = normalize.norm_vars
        self.least: float = normalize.eps

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Normalise frames (B, T, D) with valid lengths (B,), over each utterance."""
        count = lengths.clamp(min=1).to(frames.dtype).view(-1, 1, 1)
        frames = zero_padding(frames, lengths)
        mean = frames.sum(dim=1, keepdim=True) / count
        centred = zero_padding(frames - mean, lengths)
        result = centred if self.means else frames
        if self.deviations:
            variance = centred.square().sum(dim=1, keepdim=True) / count
            result = result / variance.sqrt().clamp(min=self.least)
        return result


class GlobalNorm(torch.nn.Module):
    """ESPnet's ``normalize: global_mvn``.

    Args:
        normalize: An ``espnet2.layers.global_mvn.GlobalMVN``.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, normalize: Any) -> None:
        super().__init__()
        mean, std = (t.detach().clone() for t in (normalize.mean, normalize.std))
        if not normalize.norm_means:
            mean = torch.zeros_like(mean)
        if not normalize.norm_vars:
            std = torch.ones_like(std)
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Normalise frames (B, T, D); the network zeroes what is beyond (B,)."""
        return (frames - self.mean) / self.std


_NORMS = {"UtteranceMVN": UtteranceNorm, "GlobalMVN": GlobalNorm}


def build_features(frontend: Any) -> LogMel:
    """Return a copy of a front end that can be exported.

    Args:
        frontend: The front end of a model of ESPnet.

    Raises:
        ConfigError: If it is not ESPnet's default one.
    """
    kind = type(frontend).__name__
    if kind != "DefaultFrontend":
        raise ConfigError(
            f"the front end is {quote(kind)}; accepted for export is ESPnet's frontend "
            "'default', or --input features"
        )
    return LogMel(frontend)


def build_norm(normalize: Any) -> torch.nn.Module:
    """Return a copy of a normalisation that can be exported.

    Args:
        normalize: The normalisation of a model of ESPnet.

    Raises:
        ConfigError: If it is another one than ESPnet's two.
    """
    kind = type(normalize).__name__
    if kind not in _NORMS:
        raise ConfigError(
            f"the normalisation is {quote(kind)}; accepted for export are ESPnet's "
            "utterance_mvn and global_mvn, and none"
        )
    return _NORMS[kind](normalize)
