"""Chains of operations are ESPnet's encoders, number for number."""

from __future__ import annotations

import pytest
import torch
from espnet2.asr.encoder.conformer_encoder import ConformerEncoder
from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder
from espnet2.asr.encoder.multiconvformer_encoder import MultiConvConformerEncoder
from espnet2.asr.encoder.rnn_encoder import RNNEncoder
from espnet2.asr.encoder.transformer_encoder import TransformerEncoder

from espnet_stnas.host.encoder import STNASEncoder

SIZE, WIDTH, FRAMES = 20, 8, 47
COMMON = {
    "output_size": WIDTH,
    "attention_heads": 2,
    "linear_units": 12,
    "num_blocks": 2,
    "input_layer": "conv2d",
}
RELATIVE = {"rel_pos_type": "latest", "pos_enc_layer_type": "rel_pos"}

# The operation of one block, the kind of positions, and ESPnet's encoder.
ENCODERS = {
    "conformer": (
        "conformer-H2K5F12",
        "rel",
        lambda: ConformerEncoder(
            SIZE, **COMMON, **RELATIVE, macaron_style=True, cnn_module_kernel=5
        ),
    ),
    "conformer without macaron": (
        "conformer-H2K5F12M0",
        "rel",
        lambda: ConformerEncoder(SIZE, **COMMON, **RELATIVE, cnn_module_kernel=5),
    ),
    "e_branchformer": (
        "ebranchformer-H2K5G6F12",
        "rel",
        lambda: EBranchformerEncoder(
            SIZE,
            **COMMON,
            **RELATIVE,
            cgmlp_linear_units=6,
            cgmlp_conv_kernel=5,
            use_ffn=True,
            macaron_ffn=True,
        ),
    ),
    "e_branchformer without macaron": (
        "ebranchformer-H2K3G6F12M0J7",
        "rel",
        lambda: EBranchformerEncoder(
            SIZE,
            **COMMON,
            **RELATIVE,
            cgmlp_linear_units=6,
            cgmlp_conv_kernel=3,
            use_ffn=True,
            merge_conv_kernel=7,
        ),
    ),
    "multi_conv_conformer": (
        "multiconvformer-H2K7Q2G12F12J5",
        "rel",
        lambda: MultiConvConformerEncoder(
            SIZE,
            **COMMON,
            **RELATIVE,
            macaron_style=True,
            cgmlp_linear_units=12,
            multicgmlp_kernel_sizes="3,7",
            multicgmlp_merge_conv_kernel=5,
        ),
    ),
    "transformer": (
        "transformer-H2F12",
        "abs",
        lambda: TransformerEncoder(SIZE, **COMMON),
    ),
    "transformer with relative positions": (
        "transformer-H2F12Prel",
        "rel",
        lambda: ConformerEncoder(
            SIZE, **COMMON, **RELATIVE, use_cnn_module=False, activation_type="relu"
        ),
    ),
}


def our_name(name: str, block: str, blocks: int = 2) -> str:
    """The name in our chain of one of the parameters of ESPnet's encoder.

    The chain is conv2d-S4, positions, the blocks, norm. ESPnet's ``embed`` is the first
    operation, ``encoders.<i>`` the (i + 2)-th, ``after_norm`` the last.
    """
    part, _, rest = name.partition(".")
    if part == "embed":
        return f"network.layers.0.conv2d-S4.subsampling.{rest}"
    if part == "after_norm":
        return f"network.layers.{blocks + 2}.norm.norm.{rest}"
    assert part == "encoders"
    number, _, rest = rest.partition(".")
    return f"network.layers.{int(number) + 2}.{block}.layer.{rest}"


def both(name: str):
    """ESPnet's encoder with random weights, and our chain with the same."""
    block, positions, make = ENCODERS[name]
    encoder = make().double()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for buffer in encoder.buffers():  # running statistics
            if buffer.is_floating_point():
                buffer.add_(torch.rand_like(buffer))
    chain = STNASEncoder(
        SIZE,
        layers=["conv2d-S4", f"positions-P{positions}", block, block, "norm"],
        width=WIDTH,
        dropout_rate=0.1,
    ).double()
    state = {our_name(k, block): v for k, v in encoder.state_dict().items()}
    # ESPnet's encoder does not name an architecture.
    state |= {
        k: v for k, v in chain.state_dict().items() if k.startswith("architecture_")
    }
    chain.load_state_dict(state, strict=True)
    return encoder, chain


@pytest.mark.parametrize("name", ENCODERS)
def test_same_weights_in_same_output_out(name):
    encoder, chain = both(name)
    assert sum(p.numel() for p in encoder.parameters()) == sum(
        p.numel() for p in chain.parameters()
    )
    xs = torch.randn(2, FRAMES, SIZE, dtype=torch.double)
    lengths = torch.tensor([FRAMES, FRAMES])
    expected, expected_lengths, _ = encoder.eval()(xs, lengths)
    found, olens, _ = chain.eval()(xs, lengths)
    assert olens.tolist() == expected_lengths.tolist()
    assert expected.abs().mean() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ENCODERS)
def test_same_gradients_and_statistics_in_training(name):
    """Without dropout, on utterances of one length."""
    encoder, chain = both(name)
    for model in (encoder, chain):
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model.train()
    xs = torch.randn(2, FRAMES, SIZE, dtype=torch.double)
    lengths = torch.tensor([FRAMES, FRAMES])
    outputs = []
    for model in (encoder, chain):
        ys, _, _ = model(xs, lengths)
        (ys * torch.linspace(-1, 1, WIDTH, dtype=ys.dtype)).square().sum().backward()
        outputs.append(ys)
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-12)
    ours = dict(chain.named_parameters())
    for parameter, value in encoder.named_parameters():
        own = ours[our_name(parameter, ENCODERS[name][0])]
        torch.testing.assert_close(own.grad, value.grad, rtol=1e-9, atol=1e-10)
    buffers = dict(chain.named_buffers())
    for buffer, value in encoder.named_buffers():
        own = buffers[our_name(buffer, ENCODERS[name][0])]
        torch.testing.assert_close(own, value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["lstm", "blstm", "gru", "bgru"])
def test_recurrent_layers_are_those_of_espnets_encoder(kind):
    """Its last layer has a tanh, if it has its own projection (RNN, one layer)."""
    rnn = RNNEncoder(
        SIZE,
        rnn_type=kind.removeprefix("b"),
        bidirectional=kind.startswith("b"),
        use_projection=False,
        num_layers=1,
        hidden_size=5,
        output_size=WIDTH,
    ).double()
    ours = STNASEncoder(SIZE, layers=[f"{kind}-U5"], width=WIDTH).double().eval()
    operation = ours.network.layers[0].operations[0]
    operation.rnn.load_state_dict(rnn.enc[0].nbrnn.state_dict())
    operation.projection.load_state_dict(rnn.enc[0].l_last.state_dict())
    xs, lengths = torch.randn(3, 9, SIZE, dtype=torch.double), torch.tensor([9, 5, 1])
    expected, _, _ = rnn.eval()(xs, lengths)
    found, olens, _ = ours(xs, lengths)
    assert olens.tolist() == [9, 5, 1]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
