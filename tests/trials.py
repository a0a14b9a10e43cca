"""Promises that are kept so many times: a few in every test run, all by ``make reliability``.

A test says with ``@pytest.mark.trials`` what it tries and how often, and makes each attempt inside
``with trial``. In full, attempts go on after one that failed, so that the table tells how many did,
and the table is written to ``docs/reliability.md``.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import pytest

FULL = os.environ.get("TRIALS") == "full"
PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"


@dataclass
class Trials:
    """The attempts of one test: iterate, and make each inside ``with trial as number``."""

    row: str
    said: str
    count: int
    tried: int = 0
    survived: int = 0
    figures: list[str] = field(default_factory=list[str])
    failures: list[BaseException] = field(default_factory=list[BaseException])

    def __iter__(self) -> Iterator["Trial"]:
        return (Trial(self, number) for number in range(self.count))

    def figure(self, text: str) -> None:
        """Something that was measured, for the table."""
        self.figures.append(text)


@dataclass
class Trial(AbstractContextManager[int]):
    """One attempt; its number is what it is entered as."""

    trials: Trials
    number: int

    def __enter__(self) -> int:
        self.trials.tried += 1
        return self.number

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is None:
            self.trials.survived += 1
            return False
        self.trials.failures.append(error)
        return FULL and isinstance(error, Exception)


_rows: list[Trials] = []


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> Iterator[Trials]:
    """The attempts that the test's mark asks for."""
    mark = request.node.get_closest_marker("trials")
    row, said = mark.args
    kind = getattr(request.node, "callspec", None)
    name = f"{said}: {kind.id}" if kind else said
    made = Trials(row, name, mark.kwargs["full" if FULL else "quick"])
    _rows.append(made)
    yield made
    assert made.tried, "no attempt was made"
    if made.failures:
        raise AssertionError(
            f"{made.survived} of {made.tried} survived; the first: {made.failures[0]!r}"
        ) from made.failures[0]


def pytest_sessionfinish() -> None:
    """Write the table, where everything was tried in full."""
    if FULL and _rows:
        PAGE.write_text(page(_rows), "utf-8")


def page(rows: list[Trials]) -> str:
    """``docs/reliability.md``."""
    from importlib import metadata

    from rarebooth.machine import machine

    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "diffusers"))
    lines = [
        f"| {each.row} | {each.said} | {each.tried} | {each.survived} | {'; '.join(each.figures)} |"
        for each in sorted(rows, key=lambda each: int(each.row.removeprefix("R")))
    ]
    return "\n".join(
        (
            "# Reliability",
            "",
            "What is done to rarebooth, how often, and how often it came through. `make test` does",
            "a few of each, `make reliability` all of them, and writes this page. The numbers of",
            "the rows are those of the tests in `tests/reliability`.",
            "",
            f"{machine()}; {versions}.",
            "",
            "| | what is tried | tried | survived | measured |",
            "|---|---|---|---|---|",
            *lines,
            "",
        )
    )
