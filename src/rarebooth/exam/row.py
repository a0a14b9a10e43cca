"""A row of the exam's table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["pass", "miss", "absent"]


@dataclass(frozen=True)
class Row:
    """What was measured, the bar, the figure, and whether it is reached.

    ``values``: the figures as plain data, for the record. ``wanted``: of a row that is missed, what
    it would take. "absent": there is nothing to measure.
    """

    name: str
    bar: str
    figure: str
    verdict: Verdict
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    wanted: str = ""


def judged(
    name: str,
    bar: str,
    figure: str,
    values: Mapping[str, Any],
    *,
    reached: bool,
    wanted: Callable[[], str],
) -> Row:
    """A row of something measured; ``wanted`` is asked where the bar is missed."""
    return Row(
        name, bar, figure, "pass" if reached else "miss", values, "" if reached else wanted()
    )


def absent(name: str, bar: str, reason: str) -> Row:
    """A row of something that cannot be measured here."""
    return Row(name, bar, reason, "absent")


def percent(share: float) -> str:
    """A share as a person reads it.

    >>> percent(0.9825)
    '98.2 %'
    """
    return f"{100 * share:.1f} %"


def line(row: Row) -> str:
    """The row as the table shows it, with what it would take below it where it is missed."""
    text = f"{row.verdict:6} {row.name:31} {row.bar:30} {row.figure}"
    return f"{text}\n       wanted: {row.wanted}" if row.wanted else text


def heading() -> str:
    """The table's first line."""
    return f"{'':6} {'exam':31} {'bar':30} figure"
