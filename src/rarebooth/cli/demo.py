"""``rarebooth demo``: the whole job on the model and the photos in the package."""

import tomllib
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from rarebooth import defaults
from rarebooth.cli.console import notice, out
from rarebooth.cli.stopper import Stopper
from rarebooth.errors import SettingsError


def command(
    example: Annotated[
        str, typer.Option(help="Which of the subjects in the package to learn.")
    ] = "backpack",
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="The run folder. Default: runs/demo-1, runs/demo-2, ..."),
    ] = None,
) -> None:
    """Learn a subject that comes with rarebooth, with the model that comes with it."""
    from rarebooth.examples import examples

    known = {file.parent.name: file for file in sorted(examples().glob("*/subject.toml"))}
    if example not in known:
        raise SettingsError(
            f"There is no example {example!r} in the package; known: "
            f"{', '.join(known) or 'none, so install rarebooth again'}."
        )
    photos = known[example].parent
    noun = tomllib.loads(known[example].read_text("utf-8"))["noun"]
    folder = out_folder or _next_folder()
    out().print(
        f"A demonstration: a small model that knows a rendered world of toys learns one {noun} "
        "that it has\nnever seen, from a few pictures, and draws it in new scenes. It needs no "
        "network and no GPU.\n"
    )

    with Stopper() as stopper:
        from rarebooth.api import plan
        from rarebooth.cli import job as screen

        job = plan(photos, {"noun": noun, "base": defaults.EMBEDDED}, out=folder, notice=notice)
        screen.show(job)
        if not job.finished:
            out().print(
                f"First a new word for this {noun} is learnt, then the model itself, with the word "
                "held still."
            )
            screen.follow(job, stopper)
        screen.show_result(job)
    out().print(
        "\nLook at the contact sheet: the photos on top, then what the model draws without having\n"
        f"learnt this {noun}, then what it draws after each checkpoint.\n{job.folder.sheet}"
    )


def _next_folder() -> Path:
    return next(
        folder for folder in (Path("runs") / f"demo-{n}" for n in count(1)) if not folder.exists()
    )
