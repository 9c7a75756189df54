"""Any `encoder_conf` in ESPnet's model: a step of training, or one clear sentence."""

from __future__ import annotations

import argparse
import math

import pytest
import torch
from espnet2.tasks.asr import ASRTask
from hypothesis import given

from espnet_stnas.errors import ConfigError
from espnet_stnas.host.encoder import STNASEncoder
from tests.fuzz.inputs import damaged, fuzz
from tests.fuzz.test_notation import CONF, LARGEST_BUILT, sentence

MELS = 12


@pytest.fixture(scope="module")
def options() -> dict:
    """Options of a training of ESPnet, of a few dimensions."""
    changes = {
        "token_list": ["<blank>", "<unk>", "a", "b", "<sos/eos>"],
        "encoder": "stnas",
        "frontend_conf": {"fs": 8000, "n_fft": 128, "hop_length": 80, "n_mels": MELS},
        "normalize": "utterance_mvn",
        "model_conf": {"ctc_weight": 1.0},
    }
    return {**vars(ASRTask.get_parser().parse_args([])), **changes}


def is_slow(conf: dict) -> bool:
    """Whether it is fine, but takes long."""
    with torch.device("meta"):
        whole = STNASEncoder(MELS, **conf)
    first = [layer.candidates[0] for layer in whole.space.layers]
    size = sum(p.numel() for p in whole.parameters())
    reach = sum(max(op.reach) for op in first)
    stride = math.prod(op.stride for op in first)
    return size > LARGEST_BUILT or reach > 500 or stride > 20


@fuzz(60)
@given(damaged(CONF, most=2))
def test_a_step_of_training(options, conf):
    if not isinstance(conf, dict) or not all(isinstance(key, str) for key in conf):
        return  # the options of a search are refused before
    args = argparse.Namespace(**{**options, "encoder_conf": conf})
    try:
        if is_slow(conf):
            return
        model = ASRTask.build_model(args)
    except ConfigError as error:
        sentence(error)
        return
    speech, lengths = torch.randn(2, 24000), torch.tensor([24000, 20000])
    text = torch.tensor([[2, 3], [2, -1]])
    loss, _, _ = model(
        speech=speech,
        speech_lengths=lengths,
        text=text,
        text_lengths=torch.tensor([2, 1]),
    )
    assert torch.isfinite(loss)
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(g).all() for g in gradients)
