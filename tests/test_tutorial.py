"""The notebooks of docs/tutorial, with as few steps as they allow."""

from __future__ import annotations

from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parents[1] / "docs" / "tutorial").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda p: p.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    pytest.importorskip("espeakng_loader")
    jupytext = pytest.importorskip("jupytext")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("STNAS_QUICK", "1")
    notebook = jupytext.read(path)
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", ())]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 4
    printed = "".join(o.get("text", "") for o in outputs)
    assert "4,096 encoders" in printed and "% word errors" in printed
    assert (tmp_path / "stnas_tutorial" / "architecture.yaml").exists()
