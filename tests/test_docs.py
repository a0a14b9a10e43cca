"""Commands in the documentation are commands that exist."""

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest

from rarebooth.bench.page import page
from rarebooth.bench.plan import Plan
from rarebooth.cli import run

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(page: Path) -> list[str]:
    """Every rarebooth command line in a page's fenced blocks, without its comment."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = (re.match(r"(?:\S*/)?rarebooth (.*)", line.strip()) for line in lines)
    return [match[1] for match in found if match]


ALL = [
    pytest.param(command, id=f"{page.name}: {command}")
    for page in PAGES
    for command in commands(page)
]


def test_the_readme_shows_commands():
    assert {command.split()[0] for command in commands(ROOT / "README.md")} >= {
        "demo",
        "train",
        "generate",
    }


@pytest.mark.parametrize("command", ALL)
def test_a_documented_command_is_understood(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command, comments=True)
    understood: list[str] = []
    # The real command line, up to the work itself.
    for job in ("plan", "draft", "generate", "evaluate", "make_report", "export", "merge"):
        monkeypatch.setattr(f"rarebooth.api.{job}", lambda *_, **__: _stop(understood))
    for check in ("check_photos", "check_base", "check_runs"):
        monkeypatch.setattr(f"rarebooth.cli.early.{check}", lambda *_: None)
    empty = Plan(base="embedded", photos="miniature", subjects=(), pictures=(), entries=())
    monkeypatch.setattr("rarebooth.bench.plan.read_plan", lambda _: empty)
    for job in ("open_benchmark", "rehearse"):
        monkeypatch.setattr(f"rarebooth.bench.running.{job}", lambda *_, **__: _stop(understood))
    monkeypatch.setattr("rarebooth.doctor.examine", lambda: understood.append("doctor") or [])
    if words[0] in {"methods", "tokens"}:
        understood.append("a table")
    try:
        code = run(words)
    except UnderstoodError:
        code = 0
    assert code == 0, capsys.readouterr().err
    assert understood or {"--help", "--version"} & {*words}


def test_the_speed_page_says_what_its_records_say():
    made = runpy.run_path(str(ROOT / "benchmarks/speed/table.py"))
    read = [
        json.loads(file.read_text("utf-8")) if file.is_file() else {}
        for file in (made["RECORD"], made["LIKENESS"])
    ]
    assert made["README"].read_text("utf-8") == made["write"](*read), "run `make docs`"


def test_the_speed_page_reads_rounds_that_did_not_measure_everything():
    made = runpy.run_path(str(ROOT / "benchmarks/speed/table.py"))
    old = {"first": 1.0, "token": 0.1, "denoiser": 0.2, "seconds": 9.0}
    grown = [{"25": old}, {"25": {**old, "quoted": 0.9, "left": 1.1}}]
    rounds = {"steps": grown, "two-stage": [{"ours": {"whole_seconds": 80.0}}]}
    about = {"machine": "one", "threads": 1, "versions": {}}
    page = made["write"]({**about, "rounds": rounds}, {})
    assert "| 25 | 1.0 s | 100 ms | 200 ms | 9.0 s | 0.90 | 1.10 |" in page
    assert "| 80.0 s |  |  |  | 1 |" in page
    assert "quoted" not in made["write"]({**about, "rounds": {"steps": grown[:1]}}, {})


def test_the_benchmarks_page_says_what_the_records_say():
    folder = ROOT / "benchmarks"
    assert (folder / "README.md").read_text("utf-8") == page(folder), "run `make docs`"


class UnderstoodError(Exception):
    """The command line was read to its end."""


def _stop(understood: list[str]) -> None:
    understood.append("work")
    raise UnderstoodError
