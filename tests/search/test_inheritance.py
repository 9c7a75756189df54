"""A retraining that starts from the supernet's weights of the derived path."""

from __future__ import annotations

import pytest
import torch
import yaml

from espnet_stnas.cli.main import main as stnas
from espnet_stnas.estimators import Gate
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.search import program
from espnet_stnas.search.task import SearchASRTask
from espnet_stnas.supernet.supernet import find_supernet
from tests.search.conftest import command, derive, search_config


@pytest.mark.slow
def test_retraining_starts_as_the_supernet_ended(corpus, tmp_path, capsys):
    """Through derive and ESPnet's own --init_param; averages are never taken."""
    from espnet2.tasks.asr import ASRTask
    from espnet2.torch_utils.load_pretrained_model import load_pretrained_model

    exp, init = tmp_path / "exp", tmp_path / "init.pth"
    program.main(command(corpus, exp, search_config(max_epoch=2)))
    derived = ["derive", str(exp), "--init_output", str(init)]
    derive(*derived[1:], "--output", str(tmp_path / "a.yaml"))
    architecture = Architecture.read(tmp_path / "a.yaml").space

    config = yaml.safe_load((exp / "config.yaml").read_text())
    supernet_model, _ = SearchASRTask.build_model_from_file(
        exp / "config.yaml", exp / "2epoch.pth", "cpu"
    )
    config["encoder_conf"] = architecture.to_conf()
    (tmp_path / "fixed.yaml").write_text(yaml.safe_dump(config))
    fixed, _ = ASRTask.build_model_from_file(tmp_path / "fixed.yaml", None, "cpu")
    load_pretrained_model(str(init), fixed, ignore_init_mismatch=False)
    batch = {
        "speech": torch.randn(2, 4000),
        "speech_lengths": torch.tensor([4000, 3000]),
        "text": torch.tensor([[2, 3, 4], [3, 2, -1]]),
        "text_lengths": torch.tensor([3, 2]),
    }
    path = find_supernet(supernet_model).space.index(architecture)
    with (
        torch.no_grad(),
        find_supernet(supernet_model).routed([Gate((k,)) for k in path]),
    ):
        expected = supernet_model.eval()(**batch)[0]
    assert torch.equal(fixed.eval()(**batch)[0], expected)

    (exp / "2epoch.pth").unlink()
    (exp / "checkpoint.pth").unlink()
    with pytest.raises(SystemExit, match="^error: .* has no weights of epoch 2: neith"):
        stnas(derived)
    with pytest.raises(SystemExit):
        stnas(["derive", str(tmp_path / "a.yaml"), "--init_output", str(init)])
    assert "--init_output needs a search" in capsys.readouterr().err
