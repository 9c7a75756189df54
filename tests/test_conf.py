"""Every YAML of conf/ and of the recipes is read and built."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from espnet_stnas.encoder import STNASEncoder
from espnet_stnas.space import SearchSpace

ROOT = Path(__file__).parent.parent
SPACES = sorted((ROOT / "conf" / "space").glob("*.yaml"))
RECIPES = sorted((ROOT / "egs2").glob("*/asr_stnas*/conf/**/*.yaml"))


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_there_are_some():
    assert SPACES
    assert RECIPES


@pytest.mark.parametrize("path", SPACES, ids=lambda p: p.stem)
def test_spaces_build(path):
    config = read(path)
    assert config["encoder"] == "stnas"
    encoder = STNASEncoder(40, **{**config["encoder_conf"], "width": 8})
    assert encoder.space.choices


def test_the_papers_space_is_the_papers():
    space = SearchSpace.from_conf(
        read(ROOT / "conf/space/tdnn_paper.yaml")["encoder_conf"]
    )
    assert space.num_architectures == 4096
    largest = STNASEncoder(40, **space.resolve([3] * 6).to_conf())
    assert sum(p.numel() for p in largest.parameters()) == 11_866_240


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parts[-4]}-{p.stem}")
def test_recipe_yamls_are_accepted_and_built(path, tmp_path):
    """ESPnet's parser refuses unknown keys; the model is built as in training."""
    from espnet2.bin.asr_inference import get_parser as inference_parser
    from espnet2.tasks.asr import ASRTask

    from espnet_stnas.search.task import SearchASRTask

    if "decode" in path.stem:
        inference_parser().parse_args(["--config", str(path), *_REQUIRED])
        return
    task = SearchASRTask if "search" in path.stem else ASRTask
    args = task.get_parser().parse_args(
        ["--config", str(path), "--output_dir", str(tmp_path), "--token_type", "char"]
    )
    args.token_list = ["<blank>", "<unk>", "a", "<sos/eos>"]
    model = task.build_model(args)
    assert len(task.build_optimizers(args, model)) == task.num_optimizers


_REQUIRED = ["--output_dir", "x", "--data_path_and_name_and_type", "a,b,c"]
