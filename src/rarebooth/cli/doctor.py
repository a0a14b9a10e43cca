"""``rarebooth doctor``: what works here, and what the embedded base can do, found out by doing."""

import json
from pathlib import Path
from typing import Annotated

import typer

from rarebooth import defaults
from rarebooth.cli.console import notice, out
from rarebooth.errors import SettingsError

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
VERDICTS = {"pass": "green", "miss": "bold red", "absent": "yellow"}


def command(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write JSON, for a program or a bug report.")
    ] = False,
    exam: Annotated[
        bool,
        typer.Option(
            "--exam", help="Examine a base of the miniature world instead: an hour or so."
        ),
    ] = False,
    base: Annotated[str, typer.Option(help="With --exam: embedded, or a folder.")] = (
        defaults.EMBEDDED
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="With --exam: a few pictures, which prove nothing.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            help="With --exam: a file to write all figures to, as JSON, row by row. Rows that it "
            "holds already are not measured again."
        ),
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="With --exam: by default the preset's.")
    ] = None,
    pictures: Annotated[
        int | None, typer.Option(min=1, help="With --exam: pictures a prompt.")
    ] = None,
    compared: Annotated[
        int | None, typer.Option(min=2, help="With --exam: pictures for Fréchet distances.")
    ] = None,
    compared_steps: Annotated[
        int | None, typer.Option(min=1, help="With --exam: the sampler's steps for these.")
    ] = None,
) -> None:
    """Check what rarebooth needs: packages, device, memory, disk, and drawing a picture."""
    counts = {
        "per_prompt": pictures,
        "compared": compared,
        "compared_steps": compared_steps,
    }
    if exam:
        _examine(base, guidance, counts, quick=quick, record=record, as_json=as_json)
    else:
        given = {
            "base": base != defaults.EMBEDDED,
            "quick": quick,
            "record": record is not None,
            "guidance": guidance is not None,
            "pictures": pictures is not None,
            "compared": compared is not None,
            "compared-steps": compared_steps is not None,
        }
        for name in (name for name, idle in given.items() if idle):
            notice(f"--{name} has no effect here: it goes with --exam.")
        _check(as_json=as_json)


def _check(*, as_json: bool) -> None:
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


def _examine(
    name: str,
    guidance: float | None,
    counts: dict[str, int | None],
    *,
    quick: bool,
    record: Path | None,
    as_json: bool,
) -> None:
    import time
    from dataclasses import replace

    from rarebooth.exam.candidate import Candidate
    from rarebooth.exam.extent import QUICK, Extent
    from rarebooth.exam.record import exam_record, read_record
    from rarebooth.exam.row import Row, heading, line
    from rarebooth.exam.sitting import ROWS, sit
    from rarebooth.store import write_json

    given = {key: count for key, count in counts.items() if count is not None}
    extent = replace(QUICK if quick else Extent(), **given)
    start = time.monotonic()
    candidate = Candidate.open(name, guidance)
    if quick:
        notice("This is the quick exam: it shows that everything works, and its figures nothing.")
    content = exam_record(candidate, extent, (), quick=quick, seconds=0)
    known: dict[str, Row] = {}
    before = 0.0
    if record is not None:
        known, before = read_record(record, content)
    if known:
        notice(f"{len(known)} of {len(ROWS)} rows are in {record} already.")
    if not as_json:
        out().print(f"{candidate.base.identity.name}, version {candidate.version}\n{heading()}")
    found = dict(known)
    for row in sit(candidate, extent, known=known):
        found[row.name] = row
        if not as_json:
            out().print(line(row), style=VERDICTS[row.verdict])
        rows = [found[name] for name in ROWS if name in found]
        seconds = before + time.monotonic() - start
        content = exam_record(candidate, extent, rows, quick=quick, seconds=seconds)
        if record is not None:
            write_json(record, content)
    if as_json:
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
