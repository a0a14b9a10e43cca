"""Promises that are kept so many times: a few in every test run, all by ``make reliability``.

A test says with ``@pytest.mark.trials`` what it tries and how often, and makes each attempt inside
``with trial``. In full, attempts go on after one that failed, so that the table tells how many did.
The table is written to ``docs/reliability.md``, and to the JSON beside it, where all of
``tests/reliability`` was run, by one process or by several of pytest-xdist; a part of it, run on
the same machine, renews its rows.
"""

import json
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
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
RECORD = PAGE.with_suffix(".json")
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
    the line of the table, by the test. ``ended``: whether it came to its end; ``whole``: whether
    nothing was left out.
    """

    tests: list[str]
    files: list[str]
    rows: dict[str, tuple[int, str]]
    ended: bool
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
    """Write the table, where all was tried in full, or renew the rows of what was."""
    if not FULL:
        return
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["trials"] = asdict(_account(session, exitstatus))
        return
    told = _told or [_account(session, exitstatus)]
    ended = [each for each in told if each is not None and each.ended]
    if len(ended) < len(told):
        return
    there = {file for each in ended for file in each.files}
    found = {test: row for each in ended for test, row in each.rows.items()}
    run = f"{_today()}; {len(ended)} at a time"
    new = {
        test: {"row": found[test][0], "line": found[test][1], "run": run}
        for test in ended[0].tests
        if test in found
    }
    whole = all(each.whole for each in ended)
    if whole and there >= {str(path) for path in FOLDER.glob("test_*.py")}:
        record = {"machine": _machine(), "rows": new}
    else:
        record = json.loads(RECORD.read_text("utf-8")) if RECORD.is_file() else {"rows": {}}
        known = record["rows"].keys() & new.keys()
        if not known or record["machine"] != _machine():
            return
        record["rows"] |= {test: new[test] for test in known}
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text(page(record), "utf-8")


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
        ended and not (session.shouldstop or session.shouldfail),
        not _left_out,
    )


def page(record: Mapping[str, Any]) -> str:
    """``docs/reliability.md``."""
    rows = sorted(record["rows"].values(), key=lambda row: row["row"])
    ((usual, _),) = Counter(row["run"] for row in rows).most_common(1)
    return "\n".join(
        (
            "# Reliability",
            "",
            "What is done to rarebooth, how often, and how often it came through. `make test` does",
            "a few of each, `make reliability` all of them, and writes this page. The numbers of",
            "the rows are those of the tests in `tests/reliability`.",
            "",
            f"{record['machine']}.",
            f"{usual}, where nothing else is said.",
            "",
            "| | what is tried | tried | survived | measured |",
            "|---|---|---|---|---|",
            *(_said(row["line"], None if row["run"] == usual else row["run"]) for row in rows),
            "",
        )
    )


def _said(line: str, run: str | None) -> str:
    """A line of the table, which says of which run it is where that is another than usual."""
    if run is None:
        return line
    cells = line.removesuffix("|").rstrip()
    return f"{cells}{'' if cells.endswith('|') else ';'} {run} |"


def _machine() -> str:
    from importlib import metadata

    from rarebooth.machine import machine

    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "diffusers"))
    return f"{machine()}; Python {platform.python_version()}, {versions}"


def _today() -> str:
    """The day, and the state of the sources that was tried, where git can tell."""
    day, tried = f"{datetime.now(UTC):%d %B %Y}", ("src", "tests")

    def git(*words: str) -> str:
        asked = ("git", "-C", str(PAGE.parents[1]), *words, "--", *tried)
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit, changed = git("log", "-1", "--format=%h"), git("status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return day
    return f"{day}, commit {commit}{' and changes' if changed else ''}" if commit else day
