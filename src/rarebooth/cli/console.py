"""Where the command line writes, and how it writes numbers."""

from functools import cache
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console


@cache
def out() -> "Console":
    """Standard output: results and progress. Rich is imported on first use, so not for --help."""
    return _console(stderr=False)


@cache
def err() -> "Console":
    """Standard error: errors and notices."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, stderr=stderr)


UNITS = ("B", "kB", "MB", "GB", "TB")


def say_error(message: str) -> None:
    """One message on standard error, with nothing imported for it: the memory may be full."""
    typer.echo(f"rarebooth: {harmless(message)}", err=True)


def notice(message: str) -> None:
    """A remark on standard error, so that standard output stays the result."""
    err().print(harmless(message))


def harmless(text: str) -> str:
    """A text with all that a terminal would obey, but line ends, spelt out."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def is_live() -> bool:
    """Whether a line may be redrawn: a terminal that understands control characters."""
    return out().is_terminal and not out().is_dumb_terminal


def duration(seconds: float) -> str:
    """Seconds as a person says them: "8 s", "1 min 12 s", "2 h 5 min".

    >>> duration(72.4), duration(7500)
    ('1 min 12 s', '2 h 5 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def volume(count: float) -> str:
    """Bytes as a person says them, in powers of 1000.

    >>> volume(512), volume(1_730_000_000)
    ('512 B', '1.7 GB')
    """
    unit = 0
    while count >= 1000 and unit < len(UNITS) - 1:
        count, unit = count / 1000, unit + 1
    digits = 0 if unit == 0 or count >= 100 else 1
    return f"{count:.{digits}f} {UNITS[unit]}"
