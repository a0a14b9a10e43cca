"""``rarebooth merge``: subjects that were learnt apart in, one file that holds them all out."""

import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from rarebooth.cli import early
from rarebooth.cli.console import is_live, notice, out


def command(
    subjects: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|FILE...", help="Run folders, or subject files, of custom-diffusion."
        ),
    ],
    *,
    out_file: Annotated[Path, typer.Option("--out", help="The subject file to write.")],
    base: Annotated[
        str | None, typer.Option(help="Where the base is, if it was a folder in training.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
) -> None:
    """Merge subjects that custom-diffusion learnt apart, to draw them in one picture."""
    early.check_runs(subjects)

    from rarebooth.api import merge
    from rarebooth.hub import UnknownBaseError

    with out().status("merging") if is_live() else nullcontext():
        try:
            phrases = merge(subjects, out_file, base=base, device=device, notice=notice)
        except UnknownBaseError as error:
            if base is not None:
                raise
            hint = "If the subjects were trained on a folder, give that folder with --base."
            raise UnknownBaseError(f"{error} {hint}") from error
    out().print(str(out_file))
    out().print("In a prompt,")
    for number, phrase in enumerate(phrases, start=1):
        out().print(f"  {{{number}}} stands for {phrase}")
    path = shlex.quote(str(out_file))
    out().print(f'rarebooth generate {path} "a photo of {{1}} and {{2}}"')
