"""``rarebooth generate``: a learnt subject in, pictures out."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from rarebooth.cli import early
from rarebooth.cli.console import is_live, notice, out
from rarebooth.errors import SettingsError

PICTURES = "pictures"
"""Where pictures go: this folder of the run, or of the working directory."""


def command(
    run_or_file: Annotated[
        Path, typer.Argument(metavar="RUN|FILE", help="A run folder, or a subject file.")
    ],
    prompts: Annotated[
        list[str],
        typer.Argument(
            metavar="PROMPT...", help="What to draw; {} is the subject, {2} the second of several."
        ),
    ],
    *,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="Which checkpoint of the run: stage-one, 200, ... Default: recommended."),
    ] = None,
    count: Annotated[int, typer.Option(help="Pictures of each prompt.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the first; the next have the next.")] = 0,
    sampler: Annotated[
        str | None, typer.Option(help="ddim, dpm++ or pndm. Default: the base's preset.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of the sampler. Default: the base's preset.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Guidance scale. Default: the base's preset.")
    ] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="Where the PNG files go. Default: pictures in the run folder."),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Where the base is, if it was a folder in training.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
) -> None:
    """Draw a learnt subject in new scenes."""
    if count < 1:
        raise SettingsError(f"--count is {count}; it must be at least 1.")
    folder = out_folder or (run_or_file / PICTURES if run_or_file.is_dir() else Path(PICTURES))
    drawing: dict[str, Any] = {"sampler": sampler, "sampler_steps": steps, "guidance": guidance}

    early.check_runs([run_or_file])

    from rarebooth.api import generate
    from rarebooth.hub import UnknownBaseError

    total = len(prompts) * count
    with out().status(f"drawing {total} pictures") if is_live() else nullcontext():
        try:
            paths = generate(
                run_or_file,
                prompts,
                folder,
                checkpoint=checkpoint,
                base=base,
                device=device,
                precision=precision,
                count=count,
                seed=seed,
                drawing=drawing,
                notice=notice,
            )
        except UnknownBaseError as error:
            if base is not None:
                raise
            hint = "If the subject was trained on a folder, give that folder with --base."
            raise UnknownBaseError(f"{error} {hint}") from error
    for path in paths:
        out().print(str(path))
