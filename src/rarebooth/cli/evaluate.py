"""``rarebooth evaluate``: a finished run in, scores of its checkpoints out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from rarebooth.cli import early
from rarebooth.cli.console import notice, out

SHORT: Final = {"diverse": 1, "simple": 16, "validation": 4, "others": 8}
"""Pictures a prompt of the short protocol: enough to see which checkpoint is better."""

COLUMNS: Final = (
    ("DINO", "dino", "diverse"),
    ("CLIP-I", "clip_i", "diverse"),
    ("CLIP-T", "clip_t", "diverse"),
    ("DINO simple", "dino", "simple"),
    ("PRES change", "pres", "class.change"),
    ("drift", "drift", "class"),
    ("placed", "placed", "diverse"),
)
"""Headings, and the numbers under them."""


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run's folder.")],
    *,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            help="A checkpoint to score; may be repeated. Default: all of the last stage."
        ),
    ] = None,
    protocol: Annotated[
        Literal["short", "paper"],
        typer.Option(help="short: 25 x 1 and 16 pictures; paper: 25 x 4 and 64."),
    ] = "short",
    base: Annotated[
        str | None, typer.Option(help="Where the base is, if it was a folder in training.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
) -> None:
    """Score a run: likeness, prompt-following, what the class became.

    The pictures are kept in the run's folder, so that an interrupted evaluation continues, and
    rarebooth report shows them. All methods share the same prompts and seeds.
    """
    early.check_runs([run], "run folder")

    from rarebooth.api import evaluate
    from rarebooth.protocols import Extent

    def progress(name: str, done: int, total: int) -> None:
        out().print(f"scoring {name} ({done + 1} of {total})")

    found = evaluate(
        run,
        extent=Extent(**SHORT) if protocol == "short" else Extent(),
        checkpoints=checkpoint,
        base=base,
        device=device,
        precision=precision,
        progress=progress,
        notice=notice,
    )
    _show(found)
    out().print(f"wrote {run / 'scores.json'}; rarebooth report {run} makes a page of it")


def _show(found: Mapping[str, Any]) -> None:
    from rich.table import Table

    from rarebooth.scores import value

    table = Table("checkpoint", *(heading for heading, _, _ in COLUMNS), box=None)
    for name, about in found["checkpoints"].items():
        numbers = [value(about["scores"], metric, of) for _, metric, of in COLUMNS]
        mark = f"{name} *" if name == found["recommended"] else name
        table.add_row(mark, *("-" if n is None else f"{n:.3f}" for n in numbers))
    out().print(table)
    if found["why"]:
        out().print(f"* {found['why']}")
