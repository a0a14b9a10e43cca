"""``rarebooth methods``: how a subject can be learnt, what it takes, and what can be set."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rarebooth.cli import flags
from rarebooth.cli.console import out

if TYPE_CHECKING:
    from rarebooth.catalogue import Entry, Setting, Stage


def command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="A method, to show everything about it.", show_default=False
        ),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for a program.")] = False,
) -> None:
    """List the methods that a subject can be learnt by, or show all settings of one."""
    from rarebooth.catalogue import entry
    from rarebooth.methods import names

    if name is not None:
        one = entry(name)
        if as_json:
            typer.echo(json.dumps(asdict(one), indent=2, ensure_ascii=False))
        else:
            describe(one)
        return
    entries = [entry(each) for each in names()]
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in entries], indent=2, ensure_ascii=False))
    else:
        _table(entries)


def describe(entry: "Entry") -> None:
    """Print everything about a method."""
    out().print(f"{entry.name}: {entry.summary}")
    out().print(f"({entry.paper})\n")
    out().print(f"{entry.does} Trains: {entry.trains}.")
    for stage in entry.cost.stages:
        out().print(_stage_line(stage))
    if entry.cost.class_images:
        out().print(f"Before: {entry.cost.class_images} class images.")
    for setting in entry.settings:
        _show(setting)
    out().print(
        "\nA base's preset may set other values; rarebooth train --dry-run shows those that will "
        "be used."
    )


def _stage_line(stage: "Stage") -> str:
    from rarebooth.catalogue import shown

    return (
        f"Stage {stage.name}: updates {shown(stage.steps)}, photos in each {shown(stage.photos)}, "
        f"samples through the U-Net {shown(stage.samples)}."
    )


def _show(setting: "Setting") -> None:
    from rarebooth.catalogue import shown

    familiar = {ours: f", --{name.replace('-', '_')}" for name, ours in flags.FAMILIAR.items()}
    out().print(f"\n  {setting.flag}{familiar.get(setting.name, '')}")
    out().print(f"      {setting.meaning} Default {shown(setting.default)}.")
    for line in (setting.limits, setting.only):
        if line:
            out().print(f"      {line[0].upper()}{line[1:]}.")
    if setting.embedded is not None:
        out().print(f"      With the embedded base {shown(setting.embedded)}.")
    out().print(f"      Source: {setting.source}.")


def _table(entries: "list[Entry]") -> None:
    from rarebooth.catalogue import HEADINGS, LEGEND

    rows = [HEADINGS, *(entry.row for entry in entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        out().print("  ".join(cells).rstrip())
    out().print(f"\n{LEGEND}\nrarebooth methods NAME shows everything about one.")
