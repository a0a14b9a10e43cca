"""``rarebooth export``: a learnt subject in, files for other programs out."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from rarebooth.cli import early
from rarebooth.cli.console import is_live, notice, out, volume
from rarebooth.exports import TABLE

EXPORTS = "exports"
"""Where exports go: this folder of the run, or of the working directory."""


def command(
    run_or_file: Annotated[
        Path, typer.Argument(metavar="RUN|FILE", help="A run folder, or a subject file.")
    ],
    *,
    to: Annotated[str, typer.Option(help=f"As what: {', '.join(TABLE)}.")],
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="A new folder. Default: exports/<as what> in the run folder."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="Which checkpoint of the run: stage-one, 200, ... Default: recommended."),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Where the base is, if it was a folder in training.")
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(help="low-rank: share of the singular values' sum to keep. Default: 0.6."),
    ] = None,
) -> None:
    """Write a learnt subject as other programs read it."""
    home = run_or_file if run_or_file.is_dir() else Path()
    settings: dict[str, Any] = {} if keep is None else {"keep": keep}

    early.check_runs([run_or_file])

    from rarebooth.api import export
    from rarebooth.hub import UnknownBaseError

    with out().status(f"exporting to {to}") if is_live() else nullcontext():
        try:
            made = export(
                run_or_file,
                to,
                out_folder or home / EXPORTS / to,
                checkpoint=checkpoint,
                base=base,
                settings=settings,
                notice=notice,
            )
        except UnknownBaseError as error:
            if base is not None:
                raise
            hint = "If the subject was trained on a folder, give that folder with --base."
            raise UnknownBaseError(f"{error} {hint}") from error
    sizes = f"{volume(made.size)}, from a subject file of {volume(made.subject_size)}"
    out().print(f"{made.folder} ({sizes}): {made.usage}")
