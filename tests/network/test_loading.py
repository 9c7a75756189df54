from __future__ import annotations

import pytest
import torch

from espnet_stnas.host.encoder import STNASEncoder

CHOICE = ["tdnn-C1D1", "tdnn-C1D2"]


class Model(torch.nn.Module):
    """An encoder at the place where ESPnet's models have it, and something else."""

    def __init__(self, *layers: object, width: int = 4) -> None:
        super().__init__()
        self.encoder = STNASEncoder(3, layers=list(layers), width=width)
        self.ctc = torch.nn.Linear(width, 2)


@pytest.mark.parametrize("strict", [True, False])
def test_own_weights_load(strict):
    one, two = Model("tdnn-C1D2", "zero"), Model("tdnn-C1D2", "zero")
    two.load_state_dict(one.state_dict(), strict=strict)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_other_parts_may_be_missing():
    one, two = Model("tdnn-C1D2"), Model("tdnn-C1D2")
    state = {k: v for k, v in one.state_dict().items() if k.startswith("encoder.")}
    two.load_state_dict(state, strict=False)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        # Equal shapes: only the names tell.
        (["tdnn-C1D1"], r"layer 1 is tdnn-C1D2 here and tdnn-C1D1 in the checkpoint"),
        (["tdnn-C1D2", "tdnn"], "layer 2 is missing here and tdnn-C1D1 in the checkp"),
        ([CHOICE], r"layer 1 is tdnn-C1D2 here and tdnn-C1D1 \| tdnn-C1D2 in the che"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_weights_of_another_architecture_are_refused(layers, message, strict):
    model = Model("tdnn-C1D2")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(RuntimeError, match=message):
        model.load_state_dict(Model(*layers).state_dict(), strict=strict)
    encoder = {k: v for k, v in model.state_dict().items() if "encoder" in k}
    assert all(torch.equal(v, before[k]) for k, v in encoder.items())


@pytest.mark.parametrize("strict", [True, False])
def test_no_weights_at_all_are_refused(strict):
    model = Model("tdnn-C1D2")
    with pytest.raises(RuntimeError, match="layer 1 is tdnn-C1D2 here and missing in"):
        model.load_state_dict({"ctc.bias": torch.zeros(2)}, strict=strict)


def test_other_shapes_are_refused():
    with pytest.raises(
        RuntimeError, match=r"has the shape \(4, 3, 3\) here and \(5, 3"
    ):
        Model("tdnn-C1D2").load_state_dict(Model("tdnn-C1D2", width=5).state_dict())


def test_partial_layer_is_refused():
    model = Model("tdnn-C1D2")
    state = model.state_dict()
    del state["encoder.network.layers.0.tdnn-C1D2.conv.bias"]
    with pytest.raises(RuntimeError, match="1 keys are missing and 0 are unknown"):
        model.load_state_dict(state, strict=False)
