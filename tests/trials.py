"""Promises that are kept so many times: a few in every test run, all by ``make reliability``.

A test says with ``@pytest.mark.trials`` what it tries and how often, and makes each attempt inside
``with trial``. In full, attempts go on after one that failed, so that the table tells how many did.
The table is written to ``docs/reliability.md`` where all of ``tests/reliability`` was run, by one
process or by several of pytest-xdist.
"""

import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

FULL = os.environ.get("TRIALS") == "full"
FOLDER = Path(__file__).with_name("reliability")
PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
LONGEST_REASON = 120
"""Letters of an error that the table repeats."""


@dataclass
class Trials:
    """The attempts of one test: iterate, and make each inside ``with trial as number``.

    ``broke``: what the test failed of, if it was not one of the attempts. ``skipped``: why it was
    not tried here.
    """

    row: str
    said: str
    count: int
    tried: int = 0
    survived: int = 0
    figures: list[str] = field(default_factory=list[str])
    failures: list[BaseException] = field(default_factory=list[BaseException])
    broke: BaseException | None = None
    skipped: str | None = None

    def __iter__(self) -> Iterator["Trial"]:
        return (Trial(self, number) for number in range(self.count))

    def figure(self, text: str) -> None:
        """Something that was measured, for the table."""
        self.figures.append(text)

    def line(self) -> str:
        """The row of the table."""
        survived, figures = str(self.survived), self.figures
        if self.skipped is not None:
            survived = "**not tried here**"
            figures = [*figures, " ".join(self.skipped.split()).replace("|", "/")]
        if self.broke is not None:
            said = " ".join(str(self.broke).split()).replace("|", "/")[:LONGEST_REASON]
            survived += ", but **not the whole**"
            figures = [*figures, f"failed: {type(self.broke).__name__} {said}".rstrip()]
        return f"| {self.row} | {self.said} | {self.tried} | {survived} | {'; '.join(figures)} |"


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


@dataclass(frozen=True)
class Account:
    """What one process tells of its share, as plain data that passes between processes.

    ``tests``: all that were found, in their order. ``files``: their files. ``rows``: the number and
    the line of the table, by the test. ``whole``: whether nothing was left out or stopped.
    """

    tests: list[str]
    files: list[str]
    rows: dict[str, tuple[int, str]]
    whole: bool


_rows: dict[str, Trials] = {}
_left_out: list[pytest.Item] = []
_told: list[Account | None] = []


def _row(item: pytest.Item) -> Trials | None:
    """The row of a test that makes trials."""
    mark = item.get_closest_marker("trials")
    if mark is not None and item.nodeid not in _rows:
        row, said = mark.args
        kind = getattr(item, "callspec", None)
        name = f"{said}: {kind.id}" if kind else said
        _rows[item.nodeid] = Trials(row, name, mark.kwargs["full" if FULL else "quick"])
    return _rows.get(item.nodeid)


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> Iterator[Trials]:
    """The attempts that the test's mark asks for."""
    made = _row(request.node)
    assert made is not None, "a test that makes trials says so by its mark"
    yield made
    assert made.tried or made.skipped is not None, "no attempt was made"
    if made.failures:
        raise AssertionError(
            f"{made.survived} of {made.tried} survived; the first: {made.failures[0]!r}"
        ) from made.failures[0]


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Note what the count of attempts does not tell: what went wrong beside them, or why none is.

    A test that is skipped keeps its row: a promise that was not tried here is not a promise less.
    """
    error = call.excinfo.value if call.excinfo and call.when != "teardown" else None
    made = None if error is None else _row(item)
    if made is None:
        return
    if isinstance(error, pytest.skip.Exception):
        made.skipped = str(error.msg)
    elif error not in made.failures:
        made.broke = error


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Note what is not run."""
    _left_out.extend(items)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the table, where everything was tried in full: a part of it would replace the whole."""
    if not FULL:
        return
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["trials"] = asdict(_account(session, exitstatus))
        return
    told = _told or [_account(session, exitstatus)]
    whole = [each for each in told if each is not None and each.whole]
    there = {file for each in whole for file in each.files}
    if len(whole) == len(told) and there >= {str(path) for path in FOLDER.glob("test_*.py")}:
        PAGE.write_text(page(whole), "utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear what another process tried; one that died has told nothing."""
    told = getattr(node, "workeroutput", {}).get("trials")
    _told.append(None if told is None else Account(**told))


def _account(session: pytest.Session, exitstatus: int) -> Account:
    ended = exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    return Account(
        [item.nodeid for item in session.items],
        sorted({str(item.path) for item in session.items}),
        {test: (int(each.row.removeprefix("R")), each.line()) for test, each in _rows.items()},
        ended and not (session.shouldstop or session.shouldfail or _left_out),
    )


def page(accounts: Sequence[Account]) -> str:
    """``docs/reliability.md``."""
    from importlib import metadata

    from rarebooth.machine import machine

    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "diffusers"))
    rows = {test: row for each in accounts for test, row in each.rows.items()}
    found = [rows[test] for test in accounts[0].tests if test in rows]
    lines = [line for _, line in sorted(found, key=lambda row: row[0])]
    apart = "one test at a time" if len(accounts) == 1 else f"{len(accounts)} tests at a time"
    return "\n".join(
        (
            "# Reliability",
            "",
            "What is done to rarebooth, how often, and how often it came through. `make test` does",
            "a few of each, `make reliability` all of them, and writes this page. The numbers of",
            "the rows are those of the tests in `tests/reliability`.",
            "",
            f"{machine()}; Python {platform.python_version()}, {versions}; {apart}.",
            f"{datetime.now(UTC):%d %B %Y}{_commit()}.",
            "",
            "| | what is tried | tried | survived | measured |",
            "|---|---|---|---|---|",
            *lines,
            "",
        )
    )


def _commit() -> str:
    """The state of the sources that was tried, where git can tell."""
    asked = ("git", "-C", str(PAGE.parent), "describe", "--always", "--dirty", "--exclude=*")
    try:
        told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f", commit {told}"
