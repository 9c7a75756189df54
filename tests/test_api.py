"""What `import espnet_stnas` offers, and that it stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import espnet_stnas as stnas
from espnet_stnas.network.network import Network
from tests.conftest import batch, double_network, tiny_space

SPACE = tiny_space("tdnn-C1Nbn", ["tdnn-C1Nbn", "tdnn-C2"], ["tdnn", "identity"])


def test_every_name_is_there_for_type_checkers_and_when_it_is_used():
    tree = ast.parse(Path(stnas.__file__).read_text(encoding="utf-8"))
    typed = {
        (alias.name, node.module)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        for alias in node.names
    }
    assert typed == {(n, f"espnet_stnas.{m}") for n, m in stnas._MODULES.items()}
    assert set(stnas.__all__) == {n for n, _ in typed} | {"register", "__version__"}
    assert set(stnas.__all__) <= set(dir(stnas))
    for name in stnas.__all__:
        assert getattr(stnas, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        stnas.serach  # noqa: B018


def test_the_import_alone_is_light():
    code = (
        "import sys, espnet_stnas; dir(espnet_stnas); "
        "print([m for m in ('torch', 'yaml', 'typing', 'espnet2') if m in sys.modules])"
    )
    command = [sys.executable, "-S", "-c", code]
    path = str(Path(stnas.__file__).parents[1])
    result = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": path}
    )
    assert result.stdout == "[]\n", result.stderr


class Model(torch.nn.Module):
    """A supernet, and weights outside of it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = double_network(SPACE)
        self.scale = torch.nn.Parameter(torch.ones(4, dtype=torch.double))
        self.batch = batch((8, 5))

    def loss(self) -> torch.Tensor:
        return (self.encoder(*self.batch)[0] * self.scale).tanh().sum()

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.encoder.logits, lr=0.1)


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("name", ["st", "gumbel_st", "proxyless", "darts"])
def test_an_architecture_step_changes_logits_and_nothing_else(name):
    torch.manual_seed(0)
    model = Model().train()
    before = state(model)
    estimator = stnas.build_estimator(name)
    args = (model, model.loss, estimator, model.optimizer, generator())
    report = stnas.architecture_step(*args)
    assert report["arch_grad_norm"] > 0 and report["arch_skipped"] == 0
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]) != key.endswith("logits"), key
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_steps_draw_on_and_are_clipped():
    """The generator moves by one draw per step, also if gradients are many."""
    for name, conf in (("st", None), ("darts", {"order": 2})):
        torch.manual_seed(0)
        model = Model().train()
        start = torch.cat([p.detach().clone() for p in model.encoder.logits])
        estimator, draws = stnas.build_estimator(name, conf), generator()
        stnas.architecture_step(
            *(model, model.loss, estimator, model.optimizer, draws),
            max_norm=1e-3,
            weight_loss=model.loss,
            learning_rate=0.1,
        )
        once = generator()
        model.encoder.architecture_gates(estimator, once)
        assert torch.equal(draws.get_state(), once.get_state())
        moved = torch.cat(list(model.encoder.logits)).detach() - start
        assert float(moved.norm()) == pytest.approx(0.1 * 1e-3, rel=1e-2)


def test_second_order_says_what_it_needs():
    model, second = Model(), stnas.build_estimator("darts", {"order": 2})
    args = (model, model.loss, second, model.optimizer, generator())
    with pytest.raises(ValueError, match="the estimator DARTS needs weight_loss"):
        stnas.architecture_step(*args)


def test_a_weight_step_trains_one_path():
    torch.manual_seed(0)
    model = Model().train()
    before = state(model)
    weights = [p for n, p in model.named_parameters() if "logits" not in n]
    estimator, draws = stnas.build_estimator("uniform"), generator()
    gates = model.encoder.weight_gates(estimator, generator())
    optimizer = torch.optim.SGD(weights, lr=0.1)
    loss = stnas.weight_step(model, model.loss, estimator, optimizer, draws)
    assert isinstance(loss, float)
    for block, gate in zip(model.encoder.choice_blocks, gates, strict=True):
        for k, operation in enumerate(block.operations):
            for parameter in operation.parameters():
                assert (parameter.grad is not None) == (k in gate.active)
    after = model.state_dict()
    assert not torch.equal(after["scale"], before["scale"])
    assert all(torch.equal(v, before[k]) for k, v in after.items() if "logits" in k)


def test_derived_networks_are_the_supernet_at_its_best(tmp_path):
    torch.manual_seed(0)
    model = Model()
    with torch.no_grad():
        model.encoder.logits[0][1] = 1.0
    architecture, network = stnas.derive(model, epoch=7, seed=3)
    assert isinstance(network, Network)
    assert network.double().eval()(*model.batch)[0].shape == (2, 8, 4)
    for one, other in zip(
        network(*model.batch), model.encoder.eval()(*model.batch), strict=True
    ):
        assert torch.equal(one, other)
    architecture.write(tmp_path / "architecture.yaml")
    read = stnas.Architecture.read(tmp_path / "architecture.yaml")
    assert read.space == architecture.space == model.encoder.architecture()
    assert read.provenance.epoch == 7 and read.provenance.input_size == 3
