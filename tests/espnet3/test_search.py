"""Searches in trainings of espnet3, started by espnet3's own program."""

from __future__ import annotations

import csv
import math
import re
import shutil

import pytest
import torch
import yaml

from espnet_stnas.errors import ConfigError
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.curves import read_curves
from espnet_stnas.results.experiment import SearchExperiment
from espnet_stnas.search.split import split_utterances
from tests.conftest import ROOT
from tests.espnet3.recipe import Recipe, checkpoint
from tests.search.conftest import derive

pytest.importorskip("espnet3", reason="this ESPnet has no espnet3")
pytest.importorskip("lightning", reason="espnet3 trains with Lightning")

CALLBACKS = "tests.espnet3.callbacks"


def test_writes_what_stnas_reads(searched):
    experiment = SearchExperiment.open(searched)
    assert experiment.epochs == (1, 2, 3)
    phases = [a.provenance.phase for a in experiment.history()]
    assert phases == ["warm-up", "search", "search"]
    assert (experiment.plan.estimator, experiment.plan.epochs) == ("st", 2)
    first, last = (experiment.architecture(n).provenance for n in (1, 3))
    assert first.probabilities[1] == {"tdnn-C1D1": 0.5, "tdnn-C1D2": 0.5}
    assert last.probabilities[1] != first.probabilities[1]
    assert last.seed == 3
    points = read_curves(searched)
    assert [p.epoch for p in points] == [1, 2, 3]
    assert all(p.valid_loss > 0 for p in points)


def test_architecture_steps_have_their_own_utterances(searched, recipe):
    parts = split_utterances([str(n) for n in range(24)], 0.25, 3)
    for role, names in parts.items():
        file = searched / "split" / role / "feats_shape"
        assert [line.split()[0] for line in file.open()] == names
    # 18 of 24 utterances are left for weight steps, in batches of 4.
    assert checkpoint(searched)["global_step"] == 3 * 4


def test_metrics_of_architecture_steps(searched, recipe):
    rows = []
    for path in sorted((recipe.directory / "csv").rglob("metrics.csv")):
        rows += list(csv.DictReader(path.open()))
    losses = [float(r["train/arch_loss"]) for r in rows if r.get("train/arch_loss")]
    assert losses and all(map(math.isfinite, losses))


def test_a_derived_architecture_trains(searched, recipe, tmp_path):
    derive(str(searched), "--output", str(tmp_path / "found.yaml"))
    space = Architecture.read(tmp_path / "found.yaml").space
    fixed = recipe.run("fixed", recipe.config(space.to_conf()))
    state = checkpoint(fixed)
    assert state["epoch"] == 1
    found = str(space.layers[2].candidates[0])
    weights = {k: v for k, v in state["state_dict"].items() if f".2.{found}." in k}
    assert weights and all(v.isfinite().all() for v in weights.values())
    before = recipe.run("shorter", recipe.config(space.to_conf(), max_epochs=1))
    earlier = checkpoint(before)["state_dict"]
    assert any(not torch.equal(v, earlier[k]) for k, v in weights.items())


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_a_resumed_search_is_the_same(searched, recipe):
    crash = {"_target_": f"{CALLBACKS}.Crash", "epoch": 3, "step": 2}
    with pytest.raises(MemoryError, match="crash"):
        recipe.run("resumed", recipe.search(crash))
    experiment = SearchExperiment.open(recipe.directory / "exp" / "resumed")
    assert experiment.epochs == (1, 2)
    # What a crash between an architecture and its checkpoint leaves.
    files = experiment.path / "architectures"
    shutil.copy(files / "2epoch.yaml", files / "4epoch.yaml")
    last = str(experiment.path / "last.ckpt")
    recipe.run("resumed", {**recipe.search(), "fit": {"ckpt_path": last}})
    one, other = checkpoint(searched), checkpoint(experiment.path)
    for key in ("epoch", "global_step", "state_dict", "optimizer_states"):
        assert same(one[key], other[key]), key
    assert same(one["lr_schedulers"], other["lr_schedulers"])
    assert one["callbacks"]["Search"]["optimizer"]["state"]
    assert same(one["callbacks"]["Search"], other["callbacks"]["Search"])
    assert experiment.history() == SearchExperiment.open(searched).history()


def test_the_example_of_the_page(recipe):
    page = (ROOT / "docs" / "searching.md").read_text(encoding="utf-8")
    section = page.split("## In espnet3\n")[1].split("\n## ")[0]
    example = yaml.safe_load(re.search(r"```yaml\n(.*?)```", section, re.DOTALL)[1])
    config = recipe.search()
    for key in ("model", "trainer"):
        config[key].update(example.pop(key))
    config.update(example)
    config["model"]["encoder_conf"]["width"] = 6
    config["trainer"]["max_epochs"] = 3
    config["trainer"]["callbacks"][0]["warmup_epochs"] = 2
    found = SearchExperiment.open(recipe.run("example", config)).searched()
    assert found.provenance.cost.kind == "params"


def test_each_step_changes_only_its_own(recipe):
    from tests.espnet3.callbacks import Watched

    Watched.seen.clear()
    recipe.run("watched", recipe.search(target=f"{CALLBACKS}.Watched"))
    assert len(Watched.seen) == 2 * 3 * 4
    logits = {"encoder.network.layers.1.logits", "encoder.network.layers.2.logits"}
    for epoch, kind, changed in Watched.seen:
        if kind == "weights":
            assert changed and not changed & logits
        elif epoch == 1:
            assert not changed  # warm-up
        else:
            assert changed & logits
            assert all("logits" in k or "score_offset" in k for k in changed)


@pytest.mark.parametrize(
    "name, options, trainer",
    [
        ("valid", {"arch_data": "valid"}, {"precision": "bf16-mixed"}),
        (
            "cost",
            {"cost_conf": {"kind": "params", "weight": 0.1}},
            {"accumulate_grad_batches": 2},
        ),
        (
            "darts",
            {"estimator": "darts", "estimator_conf": {"order": 2}},
            {"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"},
        ),
    ],
)
def test_options(recipe, name, options, trainer):
    config = recipe.search(**options)
    config["trainer"].update(trainer, max_epochs=2)
    found = SearchExperiment.open(recipe.run(name, config)).searched().provenance
    assert all(len(set(pi.values())) > 1 for pi in found.probabilities)
    assert (found.cost is not None) == (name == "cost")
    steps = 6 if name == "valid" else 4
    updates = (2 * steps) // trainer.get("accumulate_grad_batches", 1)
    state = checkpoint(recipe.directory / "exp" / name)
    assert state["global_step"] == updates
    learner = state["callbacks"]["Search"]["optimizer"]["state"]
    assert {int(s["step"]) for s in learner.values()} == {updates // 2}


def test_skipped_steps_leave_running_statistics(recipe):
    poison = {"_target_": f"{CALLBACKS}.Poison", "epoch": 1}
    config = recipe.search(poison)
    norms = ["tdnn-C1D1Nbn", "tdnn-C1D2Nbn"]
    config["model"]["encoder_conf"] = {"width": 6, "layers": ["tdnn-C1S3D1", norms]}
    state = checkpoint(recipe.run("poisoned", config))["state_dict"]
    means = [v for k, v in state.items() if "running_mean" in k]
    assert means and all(v.isfinite().all() for v in means)
    assert any(v.any() for v in means)


FIXED = {"layers": ["tdnn-C1D2"], "width": 6}


@pytest.mark.parametrize(
    "options, changes, message",
    [
        ({}, {"model": {"encoder_conf": FIXED}}, "needs a model with choices"),
        ({"warmup_epochs": "auto"}, {}, "warmup_epochs is 'auto'; accepted is an int"),
        ({"arch_data": "joint"}, {}, "arch_data is 'joint'; accepted is train or vali"),
        ({"arch_fraction": 0.01}, {}, "arch_fraction 0.01 of 24 training recordings"),
        ({"estimator": "best"}, {}, "estimator is 'best'; accepted are: st, "),
        ({"optim2": "best"}, {}, "optim2 is 'best'; accepted is one of adam"),
        ({"optim2_conf": {"rate": 1}}, {}, "optim2 'adam' with its optim2_conf cannot"),
        (
            {"cost_conf": {"kind": "euros", "weight": 1}},
            {},
            "cost_conf: kind is 'euros'",
        ),
        ({}, {"trainer": {"precision": "bf16-true"}}, "precision is 'bf16-true'; acce"),
        (
            {},
            {"dataloader": {s: {"iter_factory": None} for s in ("train", "valid")}},
            "dataloader: train has no iter_factory",
        ),
        (
            {},
            {
                "dataloader": {
                    s: {"iter_factory": {"_target_": f"{CALLBACKS}.Unsized"}}
                    for s in ("train", "valid")
                }
            },
            "does not know its number of batches",
        ),
    ],
)
def test_refuses_what_cannot_work(recipe: Recipe, options, changes, message):
    config = recipe.search(**options)
    for key, values in changes.items():
        config[key] = {**config.get(key, {}), **values}
    with pytest.raises(ConfigError, match=message):
        recipe.run("refused", config)
    assert not (recipe.directory / "exp" / "refused" / "architectures").exists()


def test_refuses_several_optimizers(recipe):
    config = recipe.search()
    part = {"optimizer": {"_target_": "torch.optim.Adam"}, "params": "model"}
    config.update(optimizer=None, scheduler=None, optimizers={"weights": part})
    config["trainer"]["gradient_clip_val"] = None
    with pytest.raises(ConfigError, match="accepts only optimizer, that of the weigh"):
        recipe.run("refused", config)


def test_refuses_several_devices(recipe, monkeypatch):
    import lightning

    monkeypatch.setattr(lightning.Trainer, "world_size", 2)
    with pytest.raises(ConfigError, match="num_device is 2; accepted is 1"):
        recipe.run("refused", recipe.search())


def test_refuses_an_unknown_option(recipe):
    with pytest.raises(Exception, match="unexpected keyword argument 'elastic'"):
        recipe.run("refused", recipe.search(elastic=True))


def test_refuses_to_go_on_with_other_options(searched, recipe):
    fit = {"fit": {"ckpt_path": str(searched / "last.ckpt")}}
    with pytest.raises(ConfigError, match="warmup_epochs is 2, and was 1 in the searc"):
        recipe.run("refused", {**recipe.search(warmup_epochs=2), **fit})
    with pytest.raises(ConfigError, match="seed is 4, and was 3 in the search of the"):
        recipe.run("refused", {**recipe.search(), "seed": 4, **fit})


def test_refuses_to_begin_in_the_place_of_a_search(searched, recipe):
    before = checkpoint(searched)["global_step"]
    with pytest.raises(ConfigError, match="searched holds a search; accepted is anoth"):
        recipe.run("searched", recipe.search())
    assert checkpoint(searched)["global_step"] == before
    assert SearchExperiment.open(searched).epochs == (1, 2, 3)


def test_refuses_a_checkpoint_inside_of_an_epoch(recipe):
    every = {
        "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
        "dirpath": str(recipe.directory / "inside"),
        "every_n_train_steps": 6,
        "save_top_k": -1,
    }
    config = recipe.search(every)
    recipe.run("inside", config)
    (path,) = recipe.directory.glob("inside/*step=6.ckpt")
    with pytest.raises(ConfigError, match="step=6.ckpt was saved in the middle of an"):
        recipe.run("inside", {**config, "fit": {"ckpt_path": str(path)}})
