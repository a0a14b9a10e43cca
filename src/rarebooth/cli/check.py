"""``rarebooth check``: what a file is, and whether it is safe, found out without opening it up."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rarebooth.cli.console import out, volume
from rarebooth.errors import ArtifactError


def command(
    path: Annotated[
        Path, typer.Argument(metavar="FILE|FOLDER", help="A file that came from somewhere else.")
    ],
    *,
    base: Annotated[
        str | None, typer.Option(help="A base on this machine that a subject should fit.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for a program.")] = False,
) -> None:
    """Say what a file or folder is and whether it is safe, without running anything in it."""
    from rarebooth.checking import check

    report = check(path, base)
    if as_json:
        typer.echo(json.dumps({**vars(report), "facts": dict(report.facts)}, indent=2))
    else:
        _row("is", report.kind)
        for name, value in report.facts.items():
            _show(name, value)
        for problem in report.problems:
            _row("problem", problem)
        _row("safe", "yes: nothing in it can run code" if report.safe else "no")
    if not report.safe or report.facts.get("fits") is False:
        raise typer.Exit(ArtifactError.exit_code)


def _show(name: str, value: Any) -> None:  # noqa: ANN401  a fact is whatever JSON can hold
    if name == "size":
        value = volume(value)
    elif isinstance(value, bool):
        value = "yes" if value else "no"
    elif isinstance(value, list):
        value = ", ".join(map(str, value))
    if isinstance(value, Mapping):
        for key, text in value.items():
            _row("", f"{key}: {text}")
    else:
        _row(name, str(value))


def _row(label: str, text: str) -> None:
    """A line; what a terminal would obey is spelt out, for the texts are somebody else's."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    out().print(f"{label:18}{shown}")
