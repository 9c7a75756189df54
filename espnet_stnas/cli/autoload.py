"""Make plain python3 of this environment know the encoder `stnas`, or stop doing so."""

from __future__ import annotations

import argparse

from espnet_stnas.host.autoload import disable, enable, enabled, installed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("action", choices=("enable", "disable", "status"))


def run(args: argparse.Namespace) -> None:
    """Enable or disable autoload if requested, and print its state."""
    if args.action != "status":
        {"enable": enable, "disable": disable}[args.action]()
    state = "enabled" if enabled() else "disabled"
    print(f"autoload is {state} ({installed()[0]})")
