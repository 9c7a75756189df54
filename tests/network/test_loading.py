from __future__ import annotations

import pytest
import torch
from espnet2.main_funcs.average_nbest_models import average_nbest_models
from espnet2.torch_utils.load_pretrained_model import load_pretrained_model
from espnet2.train.reporter import Reporter

from espnet_stnas.host.encoder import STNASEncoder

CHOICE = ["tdnn-C1D1", "tdnn-C1D2"]


class Model(torch.nn.Module):
    """An encoder at the place where ESPnet's models have it, and something else."""

    def __init__(self, *layers: object, width: int = 4, **conf: object) -> None:
        super().__init__()
        self.encoder = STNASEncoder(3, layers=list(layers), width=width, **conf)
        self.ctc = torch.nn.Linear(width, 2)


@pytest.mark.parametrize("strict", [True, False])
def test_own_weights_load(strict):
    one, two = Model("tdnn-C1D2", "identity"), Model("tdnn-C1D2", "identity")
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


@pytest.mark.parametrize(
    ("layers", "conf"),
    [
        (["tdnn-C1D2", "tdnn"], {"residual": True}),
        (["tdnn-C1D2", {"residual": {"body": ["tdnn"], "shortcut": "zero"}}], {}),
        (["tdnn-C1D2", {"residual": {"body": ["tdnn"]}}], {}),
        (["tdnn-C1D2", "tdnn", "identity"], {}),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_weights_that_fit_but_mean_something_else_are_refused(layers, conf, strict):
    """All keys and shapes of layers agree; the digest of the architecture does not."""
    model, other = Model("tdnn-C1D2", "tdnn"), Model(*layers, **conf)
    message = (
        "the checkpoint holds the weights of another architecture than this 'stnas' "
        r"encoder \([0-9a-f]{12} there, [0-9a-f]{12} here\): layers with weights agree,"
        r" but residual, .* differ. Use the config.yaml of the experiment"
    )
    with pytest.raises(RuntimeError, match=message):
        model.load_state_dict(other.state_dict(), strict=strict)


def test_equal_architectures_load_however_they_are_written():
    one = Model({"op": "tdnn", "dilation": 2}, dropout_rate=0, residual=False)
    for again in (
        Model("tdnn-C1D2", dropout_rate=0.0),
        Model({"repeat": 1, "layers": [["tdnn-D2"]]}, dropout_rate=0.5),
    ):
        again.load_state_dict(one.state_dict())


class TwoEpochs(Reporter):
    """Knows two epochs, the first of them the better one."""

    def has(self, *_: object) -> bool:
        return True

    def sort_epochs_and_values(self, *_: object) -> list[tuple[int, float]]:
        return [(1, 0.0), (2, 1.0)]


def test_averages_and_casts_load(tmp_path):
    """What ESPnet's average of the best epochs and train_dtype make of a state."""
    one, two = Model("tdnn-C1D2Nbn"), Model("tdnn-C1D2Nbn")
    for epoch, model in ((1, one), (2, two)):
        torch.save(model.state_dict(), tmp_path / f"{epoch}epoch.pth")
    average_nbest_models(tmp_path, TwoEpochs(), [("valid", "loss", "min")], 2)
    state = torch.load(tmp_path / "valid.loss.ave.pth", weights_only=True)
    Model("tdnn-C1D2Nbn").load_state_dict(state)
    Model("tdnn-C1D2Nbn").half().load_state_dict(one.double().state_dict())


@pytest.mark.parametrize("ignore", [True, False])
def test_init_param(tmp_path, ignore):
    """Parts of another architecture are taken if mismatches shall be ignored."""
    source, model = Model("tdnn-C1D2", "tdnn-C1D1"), Model("tdnn-C1D2", "tdnn-C2D1")
    torch.save(source.state_dict(), tmp_path / "init.pth")
    if not ignore:
        with pytest.raises(RuntimeError, match="layer 2 is tdnn-C2D1 here and tdnn-C"):
            load_pretrained_model(str(tmp_path / "init.pth"), model, ignore)
        return
    load_pretrained_model(str(tmp_path / "init.pth"), model, ignore)
    pairs = zip(
        source.encoder.network.layers[0].parameters(),
        model.encoder.network.layers[0].parameters(),
        strict=True,
    )
    assert all(torch.equal(a, b) for a, b in pairs)
