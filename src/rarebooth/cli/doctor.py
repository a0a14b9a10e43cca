"""``rarebooth doctor``: what works here, found out by doing it."""

import json
from typing import Annotated

import typer

from rarebooth.cli.console import out
from rarebooth.errors import SettingsError

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def command(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write JSON, for a program or a bug report.")
    ] = False,
) -> None:
    """Check what rarebooth needs: packages, device, memory, disk, and drawing a picture."""
    from rarebooth import doctor

    found: list[doctor.Check] = []
    for check in doctor.examine():
        found.append(check)
        if not as_json:
            out().print(f"{check.verdict:5}", style=STYLES[check.verdict], end="")
            out().print(f"{check.name:10} {check.found}")
    if as_json:
        typer.echo(json.dumps([vars(check) for check in found], indent=2))
    if any(check.verdict == "fail" for check in found):
        raise typer.Exit(SettingsError.exit_code)
