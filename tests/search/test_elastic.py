"""Elastic searches: the steps of their weights, and the options that fit them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import build_estimator
from espnet_stnas.estimators.base import Gate
from espnet_stnas.host.distillation import distillation_loss
from espnet_stnas.ops.norm import frozen_statistics
from espnet_stnas.search import program
from espnet_stnas.search.elastic import check_elastic
from tests.conftest import tiny_space
from tests.search.conftest import command, search_config
from tests.search.test_architecture_step import Model, batch, generator, make

CHOICE = ["tdnn-C1Nbn", "tdnn-C2Nbn", "identity"]
LARGEST, SMALLEST = (1, 1), (2, 2)
LAYERS = ("tdnn", CHOICE, CHOICE, "tdnn-C0Nbn")


class CTC(torch.nn.Module):
    """As ESPnet's CTC module, with another loss."""

    def __init__(self) -> None:
        super().__init__()
        self.ctc_lo = torch.nn.Linear(4, 3).double()

    def forward(self, hs, lengths):
        return self.ctc_lo(hs).square().sum()

    def log_softmax(self, hs):
        return F.log_softmax(self.ctc_lo(hs), dim=2)


class NoisyModel(Model):
    """A model whose front end is random, as SpecAug is."""

    def __init__(self, as_dict, space) -> None:
        super().__init__(as_dict, space)
        self.ctc = CTC()

    def forward(self, x, lengths, utt_id):
        ys, olens = self.supernet(x + torch.rand_like(x), lengths)
        loss = self.ctc(ys, olens)
        stats, weight = {"loss": loss.detach()}, torch.tensor(len(x))
        if self.as_dict:
            return {"loss": loss, "stats": stats, "weight": weight}
        return loss, stats, weight


@pytest.fixture(autouse=True)
def _noisy(monkeypatch):
    monkeypatch.setattr("tests.search.test_architecture_step.Model", NoisyModel)


def gates(path):
    return [Gate((k,)) for k in path]


def data():
    torch.manual_seed(0)
    x, lengths = batch((8, 5))
    return ["a", "b"], {"x": x, "lengths": lengths}


def step(as_dict=False, sharing="none", seed=0, **options):
    """The model after the backward pass of an elastic step, and what it returned."""
    space = tiny_space(*LAYERS, sharing=sharing)
    options = {"estimator": "uniform", "elastic": True, **options}
    model, epoch = make(as_dict=as_dict, space=space, **options)
    epoch._source = lambda *_: lambda: torch.Generator().manual_seed(seed)
    epoch.batches.weights = [data()]
    with epoch:
        for utterances, content in epoch:
            torch.manual_seed(3)
            result = model(**content, utt_id=utterances)
            (result["loss"] if as_dict else result[0]).backward()
            epoch.run.optimizers[0].step()
    return model, result


def gradients(model):
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("sharing", ["none", "kernel"])
@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_a_step_trains_three_paths_on_the_same_features(as_dict, sharing, weight):
    """The sum that is written out here, and its gradients."""
    model, result = step(as_dict=as_dict, sharing=sharing, distill_weight=weight)
    loss, stats = (
        (result["loss"], result["stats"]) if as_dict else (result[0], result[1])
    )
    plain, _ = make(space=tiny_space(*LAYERS, sharing=sharing))
    drawn = plain.supernet.weight_gates(build_estimator("uniform"), generator())
    x, lengths = data()[1].values()
    torch.manual_seed(3)
    x = x + torch.rand_like(x)
    expected, teacher = [], None
    for number, path in enumerate((gates(LARGEST), gates(SMALLEST), drawn)):
        with plain.supernet.routed(path), frozen_statistics(plain):
            ys, olens = plain.supernet(x, lengths)
        own, log_p = plain.ctc(ys, olens), plain.ctc.log_softmax(ys)
        if teacher is None:
            teacher = log_p.detach()
            expected.append(own)
            continue
        assert stats[f"loss_{('smallest', 'drawn')[number - 1]}"] == own
        soft = sum(
            (teacher[b, :n].exp() * (teacher - log_p)[b, :n]).sum() / 2
            for b, n in enumerate(olens)
        )
        expected.append((1 - weight) * own + weight * soft)
    total = sum(expected) / 3
    total.backward()
    torch.testing.assert_close(loss, total)
    found, wanted = gradients(model), gradients(plain)
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name])


def test_statistics_of_the_largest_are_its_own():
    """Also those of the fixed layer behind both choices, which all paths run."""
    model, _ = step(seed=3)
    plain, _ = make(space=tiny_space(*LAYERS))
    with plain.supernet.routed(gates(LARGEST)):
        content = data()[1]
        torch.manual_seed(3)
        plain(**content, utt_id=["a", "b"])
    moved, other = dict(model.named_buffers()), []
    for name, value in plain.named_buffers():
        if "C1D1Nbn" in name:
            other.append(not torch.equal(moved[name], value))
        else:
            assert torch.equal(moved[name], value), name
    assert len(other) == 6 and all(other)  # the drawn path is (0, 0)


def test_without_distillation_a_step_needs_no_ctc_output(monkeypatch):
    """Only the model looks at it, where it has one."""
    seen = []
    monkeypatch.setattr(CTC, "log_softmax", lambda *_: seen.append(1))
    _, (_, stats, _) = step(distill_weight=0.0)
    assert not seen and {"loss_smallest", "loss_drawn"} <= stats.keys()


def test_the_next_steps_are_those_of_the_model_again():
    model, _ = step()
    plain, _ = make(space=tiny_space(*LAYERS))
    plain.load_state_dict(model.state_dict())
    content = {**data()[1], "utt_id": ["a", "b"]}
    found = []
    for one in (model, plain):
        torch.manual_seed(5)
        with one.supernet.routed(gates(LARGEST)):
            found.append(one(**content)[0])
    assert torch.equal(*found)


def test_padding_of_the_outputs_does_not_count():
    student, teacher = torch.randn(2, 2, 5, 3).log_softmax(3)
    lengths = torch.tensor([5, 2])
    expected = distillation_loss(student, teacher, lengths)
    student[1, 2:] = float("nan")
    assert distillation_loss(student, teacher, lengths) == expected
    assert distillation_loss(teacher, teacher, lengths) == 0


def test_gradients_in_a_step_go_to_the_student_only():
    student = torch.randn(1, 4, 3, requires_grad=True)
    teacher = torch.randn(1, 4, 3, requires_grad=True)
    lengths = torch.tensor([4])
    distillation_loss(
        student.log_softmax(2), teacher.log_softmax(2), lengths
    ).backward()
    assert student.grad is not None
    assert teacher.grad is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "st"}, "elastic is true and estimator 'st'"),
        ({"warmup_epochs": "auto"}, "elastic is true and warmup_epochs 'auto'"),
        ({"distill_weight": 1.5}, "distill_weight is 1.5; accepted is a number from 0"),
    ],
)
def test_what_is_not_elastic_is_one_sentence(corpus, tmp_path, options, message):
    config = search_config(**{"elastic": True, "estimator": "uniform", **options})
    with pytest.raises(SystemExit, match=message):
        program.main(command(corpus, tmp_path / "exp", config))
    assert not (tmp_path / "exp").exists()


def test_a_model_without_ctc_is_refused():
    with pytest.raises(ConfigError, match="the model has no CTC output"):
        check_elastic(torch.nn.Linear(1, 1), 0.5)
    check_elastic(torch.nn.Linear(1, 1), 0.0)
