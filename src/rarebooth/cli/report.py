"""``rarebooth report``: evaluated runs in, one page to look at out."""

from pathlib import Path
from typing import Annotated

import typer

from rarebooth.cli import early
from rarebooth.cli.console import out


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Evaluated run folders.")],
    *,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="The page. Default: report.html in the first run.")
    ] = None,
) -> None:
    """Make one self-contained page of scores, curves and pictures, of one run or several."""
    early.check_runs(runs, "run folder")

    from rarebooth.api import make_report

    page = make_report(runs, out_file or runs[0] / "report.html")
    out().print(str(page))
