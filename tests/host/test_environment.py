"""stnas doctor: what an environment has and lacks."""

from __future__ import annotations

import json

import pytest

from espnet_stnas.cli.main import main
from espnet_stnas.host import environment
from espnet_stnas.host.environment import RECIPE, Finding


def found(capsys) -> dict[str, dict]:
    main(["doctor", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert data["good"] is True
    return {finding["name"]: finding for finding in data["findings"]}


def test_what_is_here_and_what_is_not(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "sox").write_text("#!/bin/sh\n")
    (tmp_path / "sox").chmod(0o755)
    monkeypatch.setenv("ESPNET_ROOT", str(tmp_path))
    here = found(capsys)
    assert here["torch"]["found"] and here["ESPnet"]["found"]
    assert here["sox"]["found"] == str(tmp_path / "sox")
    assert here["sph2pipe"]["found"] is None
    assert "install_sph2pipe.sh" in here["sph2pipe"]["remedy"]
    assert here["ESPNET_ROOT"]["found"] is None
    assert f"{tmp_path} has no {RECIPE}" in here["ESPNET_ROOT"]["remedy"]


def test_a_checkout_and_its_tools(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("ESPNET_ROOT", str(tmp_path))
    for name in (RECIPE, "tools/sctk/bin/sclite"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch(0o755)
    (tmp_path / "version.txt").write_text("202611\n")
    here = found(capsys)
    assert here["ESPNET_ROOT"]["found"] == f"202611, {tmp_path}"
    assert here["sclite"]["found"] == str(tmp_path / "tools/sctk/bin/sclite")


def test_every_finding_has_a_line(capsys):
    main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    findings = environment.findings()
    assert len(lines) == len(findings)
    for line, finding in zip(lines, findings, strict=True):
        assert finding.name in line
        if finding.found is None:
            assert finding.needed_for and finding.remedy in line


def test_what_everything_needs(capsys, monkeypatch):
    lacking = [Finding("ESPnet", None, "everything", "pip install espnet", True)]
    monkeypatch.setattr("espnet_stnas.cli.doctor.findings", lambda: lacking)
    with pytest.raises(SystemExit) as end:
        main(["doctor"])
    assert end.value.code == 1
    assert capsys.readouterr().out.splitlines() == [
        "MISSING  ESPnet  missing; for everything: pip install espnet",
        "missing and required: ESPnet",
    ]
