"""Every YAML of conf/ and of the recipes is read and built."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import yaml

from espnet_stnas.estimators import build_estimator
from espnet_stnas.host.encoder import STNASEncoder
from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.results.architecture import Architecture

ROOT = Path(__file__).parent.parent
SPACES = sorted((ROOT / "conf" / "space").glob("*.yaml"))
ARCHITECTURES = sorted((ROOT / "conf" / "architecture").glob("*.yaml"))
RECIPES = sorted((ROOT / "egs2").glob("*/asr_stnas*/conf/**/*.yaml"))


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_there_are_some():
    assert SPACES
    assert ARCHITECTURES
    assert RECIPES


@pytest.mark.parametrize("path", SPACES, ids=lambda p: p.stem)
def test_spaces_are_built_and_trained(path):
    config = read(path)
    assert config["encoder"] == "stnas"
    encoder = STNASEncoder(40, **{**config["encoder_conf"], "width": 8})
    assert encoder.space.choices
    supernet = encoder.network
    generator = torch.Generator().manual_seed(0)
    gates = supernet.architecture_gates(build_estimator("st"), generator)
    with supernet.routed(gates):
        take_a_step(encoder)
    assert all(p.grad.abs().sum() > 0 for p in supernet.logits)


def take_a_step(encoder: STNASEncoder) -> None:
    """One step on random features; some weight changes."""
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    before = [p.detach().clone() for p in encoder.parameters()]
    outputs, lengths, _ = encoder(torch.randn(2, 30, 40), torch.tensor([30, 22]))
    assert outputs.size(1) == lengths.max()
    outputs.square().sum().backward()
    optimizer.step()
    after = list(encoder.parameters())
    assert any((p != q).any() for p, q in zip(before, after, strict=True))


def test_the_papers_space_is_the_papers():
    space = SearchSpace.from_conf(
        read(ROOT / "conf/space/tdnn_paper.yaml")["encoder_conf"]
    )
    assert space.num_architectures == 4096
    largest = STNASEncoder(40, **space.resolve([3] * 6).to_conf())
    assert sum(p.numel() for p in largest.parameters()) == 11_866_240


def test_nas_bench_asrs_space_is_that_of_its_paper():
    """13824 architectures, of 18 cells with the same nine decisions."""
    conf = read(ROOT / "conf/space/nas_bench_asr.yaml")["encoder_conf"]
    space = SearchSpace.from_conf(conf)
    assert space.num_architectures == 13_824
    assert [len(choice.candidates) for choice in space.choices].count(6) == 3
    numbers = [n for n in space.choice_numbers if n is not None]
    assert {numbers.count(n) for n in range(9)} == {18}
    widths = [shape.output_width for shape in space.shapes(80)]
    assert [widths.count(w) for w in (600, 800, 1000, 1200)] == [32, 42, 52, 62]


@pytest.mark.parametrize("path", ARCHITECTURES, ids=lambda p: p.stem)
def test_architectures_are_read_built_and_trained(path):
    space = Architecture.read(path).space
    encoder = STNASEncoder(40, **{**space.to_conf(), "width": 8})
    assert not encoder.space.choices
    take_a_step(encoder)


def recipe_id(path: Path) -> str:
    return "-".join((*path.relative_to(ROOT / "egs2").parts[:1], path.stem))


@pytest.mark.parametrize("path", RECIPES, ids=recipe_id)
def test_recipe_yamls_are_accepted_built_and_trained(path, tmp_path):
    """ESPnet's parser refuses unknown keys; one step runs, with small widths."""
    from espnet2.bin.asr_inference import get_parser as inference_parser
    from espnet2.tasks.asr import ASRTask
    from espnet2.tasks.lm import LMTask

    from espnet_stnas.search.task import SearchASRTask

    if path.stem.startswith("decode"):
        inference_parser().parse_args(["--config", str(path), *_REQUIRED])
        return
    config = read(path)
    task, small = ASRTask, []
    if path.stem.startswith("search"):
        task, small = SearchASRTask, ["--encoder_conf", "width=8"]
    elif "lm" in path.stem:
        small = [f"{key}={value}" for key, value in _SMALL_LM.items()]
        task, small = LMTask, [word for s in small for word in ("--lm_conf", s)]
    elif "encoder" not in config:
        small = [
            *("--encoder", "stnas", "--encoder_conf", "width=8"),
            *("--encoder_conf", "layers=[tdnn-C1D1,tdnn-C1S3D1]"),
        ]
    if "decoder_conf" in config:
        small += ["--decoder_conf", "linear_units=8"]
    if config.get("model") == "ctc_crf":
        # Recipes put theirs in after the search.
        (tmp_path / "label_lm.arpa").write_text(_LABEL_LM)
        small += ["--model_conf", f"crf_lm={tmp_path / 'label_lm.arpa'}"]
    options = ["--config", str(path), "--output_dir", str(tmp_path), *small]
    args = task.get_parser().parse_args([*options, "--token_type", "char"])
    args.token_list = ["<blank>", "<unk>", "a", "<sos/eos>"]
    model = task.build_model(args)
    optimizers = task.build_optimizers(args, model)
    assert len(optimizers) == task.num_optimizers
    batch = {"text": torch.full((2, 3), 2), "text_lengths": torch.tensor([3, 2])}
    if task is not LMTask:
        speech = {"speech": torch.randn(2, 16000)}
        batch = {**speech, "speech_lengths": torch.tensor([16000, 12000]), **batch}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    paths = nullcontext()
    if task is SearchASRTask:
        supernet = model.encoder.network
        estimator = build_estimator(args.estimator, args.estimator_conf)
        paths = supernet.routed(
            supernet.architecture_gates(estimator, torch.Generator().manual_seed(0))
        )
    with paths:
        loss = model(**batch)[0]
    assert torch.isfinite(loss).all()
    loss.sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    if task is SearchASRTask:
        assert all((p != 0).any() for p in supernet.logits)
    assert any((p != before[name]).any() for name, p in model.named_parameters())


_SMALL_LM = {"layer": 1, "unit": 8, "att_unit": 8, "embed_unit": 8, "head": 2}
_LABEL_LM = """\\data\\
ngram 1=3

\\1-grams:
-99 <s>
-0.3 a
-0.3 </s>

\\end\\
"""
_REQUIRED = ["--output_dir", "x", "--data_path_and_name_and_type", "a,b,c"]


# The training that is compared with others, and these.
COMPARED = [
    (ours, path)
    for recipe, name in (
        ("digits", "retrain.yaml"),
        ("an4", "train_asr.yaml"),
        ("librispeech_100", "train_asr.yaml"),
        ("speechocean762", "train_asr.yaml"),
    )
    for ours in [ROOT / "egs2" / recipe / "asr_stnas1" / "conf" / name]
    for path in sorted(ours.parent.glob("**/train_*.yaml"))
    if path != ours
]


@pytest.mark.parametrize(("ours", "path"), COMPARED, ids=recipe_id)
def test_what_is_compared_differs_in_nothing_but_the_encoder(ours, path):
    first, other = (
        {k: v for k, v in read(p).items() if k not in ("encoder", "encoder_conf")}
        for p in (ours, path)
    )
    assert other == first


def test_each_recipe_compares_with_something():
    recipes = {path.relative_to(ROOT / "egs2").parts[0] for _, path in COMPARED}
    assert recipes == {"digits", "an4", "librispeech_100", "speechocean762"}
