"""A fixed encoder in every ESPnet task that takes one: built, and one training step."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torchaudio
import yaml

import espnet_stnas
from espnet_stnas.errors import ConfigError
from espnet_stnas.host.encoder import STNASEncoder

TOKENS = ["<blank>", "<unk>", "a", "b", "c", "<sos/eos>"]
S2T_TOKENS = [
    *("<blank>", "<unk>", "<na>", "<nospeech>", "<eng>", "<asr>"),
    *("<notimestamps>", "<sop>", "a", "b", "c", "<sos>", "<eos>"),
]
WIDTH = 8
ENCODER = {"layers": ["tdnn-C1S3D1", "tdnn-C1D2"], "width": WIDTH, "dropout_rate": 0.0}
TRANSFORMER = {"attention_heads": 2, "linear_units": 8, "num_blocks": 1}
STFT = {"n_fft": 64, "hop_length": 32}


def frames(size: int = 12) -> dict[str, torch.Tensor]:
    return {
        "speech": torch.randn(2, 36, size),
        "speech_lengths": torch.tensor([36, 30]),
    }


def tokens(name: str = "text", last: int = 4) -> dict[str, torch.Tensor]:
    return {
        name: torch.tensor([[2, 3, last], [3, 2, -1]]),
        f"{name}_lengths": torch.tensor([3, 2]),
    }


def wave(name: str = "speech") -> dict[str, torch.Tensor]:
    return {
        name: torch.randn(2, 1600),
        f"{name}_lengths": torch.tensor([1600, 1400]),
    }


@dataclass(frozen=True)
class Case:
    """A task with tiny options, and a batch for it.

    Args:
        task: Module and class below ``espnet2.tasks``.
        options: What an ESPnet training YAML of it says.
        batch: What its data loader gives.
        encoder: Prefix of the encoder's options, and the place of it in the model.
        features: Whether the batch holds features, not waves.
    """

    task: str
    options: dict[str, Any] = field(default_factory=dict)
    batch: dict[str, torch.Tensor] = field(default_factory=dict)
    encoder: tuple[str, str] = ("", "encoder")
    features: bool = True


def att_ctc(weight: float) -> dict[str, Any]:
    return {
        "model_conf": {"ctc_weight": weight},
        "decoder": "transformer",
        "decoder_conf": TRANSFORMER,
    }


TRANSDUCER = {
    "decoder": "transducer",
    "decoder_conf": {"hidden_size": 4},
    "joint_net_conf": {"joint_space_size": 4},
    "model_conf": {"report_cer": False, "report_wer": False},
}
CASES = {
    "asr_ctc": Case("asr.ASRTask", {"model_conf": {"ctc_weight": 1.0}}, tokens()),
    "asr_attention": Case("asr.ASRTask", att_ctc(0.0), tokens()),
    "asr_transducer": Case(
        "asr.ASRTask", {**TRANSDUCER, "model_conf": {"ctc_weight": 0.3}}, tokens()
    ),
    "st": Case(
        "st.STTask",
        {
            **att_ctc(0.0),
            "src_token_list": TOKENS,
            "src_token_type": "char",
            "model_conf": {"asr_weight": 0.3, "mtlalpha": 1.0},
        },
        {**tokens(), **tokens("src_text", 2)},
    ),
    "slu": Case("slu.SLUTask", att_ctc(0.3), tokens()),
    "s2t": Case(
        "s2t.S2TTask",
        att_ctc(0.3),
        {
            "text": torch.tensor([[4, 5, 8, 9], [4, 5, 9, -1]]),
            "text_lengths": torch.tensor([4, 3]),
            "text_prev": torch.tensor([[8, 9], [2, -1]]),
            "text_prev_lengths": torch.tensor([2, 1]),
            "text_ctc": torch.tensor([[8, 9], [9, -1]]),
            "text_ctc_lengths": torch.tensor([2, 1]),
        },
    ),
    "s2t_ctc": Case(
        "s2t_ctc.S2TTask",
        {
            "promptencoder_conf": {"output_size": 4, **TRANSFORMER},
            "preprocessor_conf": {"speech_init_silence": 0.0},
        },
        {
            "text": torch.tensor([[4, 5, 8, 9], [4, 5, 9, -1]]),
            "text_lengths": torch.tensor([4, 3]),
            "text_prev": torch.tensor([[8, 9], [2, -1]]),
            "text_prev_lengths": torch.tensor([2, 1]),
            "text_ctc": torch.tensor([[8, 9], [9, -1]]),
            "text_ctc_lengths": torch.tensor([2, 1]),
            "prefix": torch.tensor([[4, 5], [4, 5]]),
            "prefix_lengths": torch.tensor([2, 2]),
        },
    ),
    "s2st": Case(
        "s2st.S2STTask",
        {
            # Its other types ask for a transformer or a conformer.
            "s2st_type": "translatotron",
            "frontend": "default",
            "frontend_conf": {"fs": 8000, "n_mels": 8, **STFT},
            "tgt_feats_extract": "spectrogram",
            "tgt_feats_extract_conf": {**STFT, "win_length": 64},
            "tgt_normalize": None,
            "src_normalize": None,
            "src_token_list": TOKENS,
            "src_token_type": "char",
            "tgt_token_list": TOKENS,
            "asr_ctc": True,
            "synthesizer": "translatotron",
            "synthesizer_conf": {
                **{"embed_dim": 4, "adim": 4, "aheads": 2, "aconv_chans": 2},
                **{"dlayers": 1, "dunits": 4, "prenet_units": 4, "postnet_layers": 1},
            },
            "losses": [
                {"name": "synthesis", "type": "tacotron", "conf": {}},
                {"name": "asr_ctc", "type": "ctc", "conf": {}},
            ],
        },
        {
            **wave("src_speech"),
            **wave("tgt_speech"),
            **tokens("src_text"),
            **tokens("tgt_text"),
        },
        features=False,
    ),
    "cls": Case(
        "cls.CLSTask",
        {},
        {"label": torch.tensor([[1], [2]]), "label_lengths": torch.tensor([1, 1])},
    ),
    "enh_s2t": Case(
        "enh_s2t.EnhS2TTask",
        {
            "subtask_series": ["enh", "asr"],
            "model_conf": {"calc_enh_loss": True, "bypass_enh_prob": 0.0},
            "enh_encoder_conf": STFT,
            "enh_decoder_conf": STFT,
            "enh_separator": "rnn",
            "enh_separator_conf": {"num_spk": 1, "layer": 1, "unit": 4},
            "enh_criterions": [
                {
                    "name": "snr",
                    "conf": {},
                    "wrapper": "fixed_order",
                    "wrapper_conf": {"weight": 1.0},
                }
            ],
            "frontend_conf": {"fs": 8000, "n_mels": 8, **STFT},
            "asr_model_conf": {"ctc_weight": 1.0},
        },
        {
            **wave(),
            "speech_ref1": torch.randn(2, 1600),
            "speech_ref1_lengths": torch.tensor([1600, 1400]),
            **tokens("text_spk1"),
        },
        encoder=("asr_", "s2t_model.encoder"),
        features=False,
    ),
    "diar": Case(
        "diar.DiarizationTask",
        {
            "encoder_conf": {**ENCODER, "layers": ["tdnn-C1D1", "tdnn-C1D2"]},
            "num_spk": 2,
            "frontend": None,
            "normalize": None,
            "label_aggregator_conf": {"win_length": 64, "hop_length": 32},
        },
        {
            "spk_labels": torch.randint(0, 2, (2, 32 * 35, 2)).float(),
            "spk_labels_lengths": torch.tensor([32 * 35, 32 * 29]),
        },
    ),
    "mt": Case(
        "mt.MTTask",
        {
            "src_token_list": TOKENS,
            "frontend": "embed",
            "frontend_conf": {"embed_dim": 12},
            **att_ctc(0.0),
            "model_conf": {},
            "encoder_conf": {**ENCODER, "layers": ["tdnn-C1D1", "tdnn-C1D2"]},
        },
        {**tokens(), **tokens("src_text")},
        features=False,
    ),
}
CASES["st_transducer"] = Case(
    "st.STTask",
    {
        **{k: v for k, v in TRANSDUCER.items() if k != "joint_net_conf"},
        "st_joint_net_conf": TRANSDUCER["joint_net_conf"],
        "src_token_list": TOKENS,
    },
    {**tokens(), **tokens("src_text")},
)
CASES["slu_transducer"] = Case("slu.SLUTask", TRANSDUCER, tokens())


@pytest.fixture
def transducer_loss(monkeypatch) -> None:
    """The loss of transducers: warp-transducer, or torchaudio in its place.

    ESPnet imports the former only, and package indices do not have it.
    """
    if importlib.util.find_spec("warprnnt_pytorch") is None:
        module = ModuleType("warprnnt_pytorch")
        module.RNNTLoss = TorchaudioLoss  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "warprnnt_pytorch", module)


class TorchaudioLoss(torchaudio.transforms.RNNTLoss):
    """Takes the options that ESPnet gives to that of warp-transducer."""

    def __init__(self, blank: int, fastemit_lambda: float) -> None:
        super().__init__(blank=blank)
        assert fastemit_lambda == 0.0


def task_class(name: str) -> Any:
    module, _, cls = name.rpartition(".")
    return getattr(importlib.import_module(f"espnet2.tasks.{module}"), cls)


def build(
    case: Case, tmp_path: Path, task: Any = None
) -> tuple[torch.nn.Module, argparse.Namespace]:
    """The model of a case, through the task's own parser and from a YAML."""
    task = task or task_class(case.task)
    parser = task.get_parser()
    prefix = case.encoder[0]
    shared = {
        "token_list": S2T_TOKENS if case.task.startswith("s2t") else TOKENS,
        "normalize": None,
        **({"input_size": 12} if case.features else {}),
    }
    known = {action.dest for action in parser._actions}
    options = {
        **{name: value for name, value in shared.items() if name in known},
        f"{prefix}encoder": "stnas",
        f"{prefix}encoder_conf": ENCODER,
        **case.options,
    }
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(options))
    args = parser.parse_args(
        ["--config", str(tmp_path / "train.yaml"), "--output_dir", str(tmp_path)]
    )
    return task.build_model(args), args


@pytest.mark.usefixtures("transducer_loss")
@pytest.mark.parametrize("name", CASES)
def test_task_builds_and_steps(name, tmp_path):
    case = CASES[name]
    if name == "cls":
        pytest.importorskip("torcheval", reason="ESPnet's cls needs torcheval")
    model = build(case, tmp_path)[0].train()
    encoder = model.get_submodule(case.encoder[1])
    assert isinstance(encoder, STNASEncoder)
    batch = {**(frames() if case.features else {}), **case.batch}
    loss, _, _ = model(**batch)
    loss.backward()
    assert torch.isfinite(loss)
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    before = [p.detach().clone() for p in encoder.parameters()]
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert any(
        not torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True)
    )


@pytest.mark.parametrize("task", ["spk", "lid", "hubert", "ssl"])
def test_tasks_that_call_their_encoder_otherwise_do_not_offer_it(task):
    module = importlib.import_module(f"espnet2.tasks.{task}")
    assert "stnas" not in module.encoder_choices.classes


@pytest.mark.parametrize("part", ["asr", "st", "diar"])
def test_parts_of_enh_s2t_registered_late(part, monkeypatch):
    """When the task was imported before this package, it holds copies without it."""
    module = importlib.import_module("espnet2.tasks.enh_s2t")
    classes = getattr(module, f"{part}_encoder_choices").classes
    monkeypatch.delitem(classes, "stnas")
    espnet_stnas.register()
    assert classes["stnas"] is STNASEncoder


def test_language_and_task_of_s2t_ctc_reach_every_frame():
    encoder = STNASEncoder(3, layers=["tdnn-C1S2"], width=4).eval()
    xs, ilens, prefix = torch.randn(2, 9, 3), torch.tensor([9, 6]), torch.randn(2, 2, 4)
    plain, plain_lengths, _ = encoder(xs, ilens)
    ys, olens, _ = encoder(xs, ilens, ctc=None, prefix_embeds=prefix)
    assert torch.equal(ys[:, :2], prefix)
    torch.testing.assert_close(ys[:, 2:] - plain, prefix.mean(1, True).expand(2, 5, 4))
    assert olens.tolist() == (plain_lengths + 2).tolist()


def test_outputs_of_all_layers_are_refused():
    encoder = STNASEncoder(3, layers=["tdnn"], width=4)
    with pytest.raises(ConfigError, match="return_all_hs is true; .* accepts only fal"):
        encoder(torch.randn(1, 9, 3), torch.tensor([9]), return_all_hs=True)
