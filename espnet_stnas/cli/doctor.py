"""Show what this environment has and lacks, and what to type for what is missing.

The exit code is 1 if something is missing that everything needs.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from espnet_stnas.cli.parser import add_json, show
from espnet_stnas.host.environment import Finding, findings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the findings."""
    found = findings()
    broken = [f.name for f in found if f.required and f.found is None]
    width = max(len(f.name) for f in found)
    lines = [f"{_mark(f)}  {f.name:{width}}  {_remark(f)}" for f in found]
    if broken:
        lines.append(f"missing and required: {', '.join(broken)}")
    data = {"good": not broken, "findings": [asdict(f) for f in found]}
    show(args, "\n".join(lines), data)
    return 1 if broken else 0


def _mark(finding: Finding) -> str:
    if finding.found is not None:
        return "ok     "
    return "MISSING" if finding.required else "-      "


def _remark(finding: Finding) -> str:
    if finding.found is not None:
        return finding.found
    return f"missing; for {finding.needed_for}: {finding.remedy}"
