"""A search and a training that share statistics must have the same features."""

from __future__ import annotations

import pytest

from espnet_stnas.cli.main import main


def run(tmp_path, search, train):
    for name, text in (("search", search), ("train", train)):
        (tmp_path / f"{name}.yaml").write_text(text)
    main(
        ["check-features", str(tmp_path / "train.yaml"), str(tmp_path / "search.yaml")]
    )


def test_equal_features(tmp_path, capsys):
    text = "frontend: default\nfrontend_conf: {n_mels: 40}\n"
    run(tmp_path, text + "max_epoch: 1\n", text)
    expected = '{"frontend": "default", "frontend_conf": {"n_mels": 40}}'
    assert capsys.readouterr().out.strip() == expected


def test_a_search_is_no_training(tmp_path):
    text = "frontend: default\n"
    with pytest.raises(SystemExit, match="train.yaml has the key 'warmup_epochs'"):
        run(tmp_path, text, text + "warmup_epochs: 1\n")


def test_other_features(tmp_path):
    with pytest.raises(SystemExit, match=r"frontend_conf is \{'n_mels': 40\} in "):
        run(tmp_path, "frontend_conf: {n_mels: 40}", "frontend_conf: {n_mels: 80}")
    with pytest.raises(SystemExit, match="frontend is None in"):
        run(tmp_path, "a: 1", "frontend: default")
