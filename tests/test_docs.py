"""Commands in the documentation are commands that exist."""

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
    empty = Plan(
        base="embedded", precision="auto", photos="miniature", subjects=(), pictures=(), entries=()
    )
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
    written = made["write"](*made["records"]())
    assert made["README"].read_text("utf-8") == written, "run `make docs`"


def test_the_speed_page_reads_rounds_that_did_not_measure_everything():
    made = runpy.run_path(str(ROOT / "benchmarks/speed/table.py"))
    old = {"first": 1.0, "token": 0.1, "denoiser": 0.2, "seconds": 9.0}
    grown = [{"25": old}, {"25": {**old, "quoted": 0.9, "left": 1.1}}]
    rounds = {"steps": grown, "two-stage": [{"ours": {"whole_seconds": 80.0}}]}
    about = {"machine": "one", "threads": 1, "versions": {}}
    page = made["write"]({**about, "rounds": rounds}, {}, {})
    assert "| 25 | 1.0 s | 100 ms | 200 ms | 9.0 s | 0.90 | 1.10 |" in page
    assert "| 80.0 s |  |  |  | 1 |" in page
    assert "quoted" not in made["write"]({**about, "rounds": {"steps": grown[:1]}}, {}, {})


def gpu_record(*rows):
    """What a run of the benchmark for GPUs has written after these rows."""
    about = {"machine": "a card", "torch": "2", "size": "sd21", "pixels": 512, "precision": "bf16"}
    return {**about, "ceiling": 5e14, "rows": list(rows)}


def gpu_steps(stage, batch, *seconds):
    """The rows of a stage and batch: ours, compiled, diffusers."""
    same = {"least": 0.05, "counted": 15, "first_seconds": 2.0, "share": 0.25, "operations": 1.0}
    sides = {"ours": 8e9, "ours, compiled": 8e9, "diffusers": 4e9}
    return [
        {"side": side, "stage": stage, "batch": batch, "seconds": each, "peak_bytes": most, **same}
        for (side, most), each in zip(sides.items(), seconds, strict=True)
    ]


def test_the_speed_page_shows_all_that_was_measured_on_a_gpu():
    made = runpy.run_path(str(ROOT / "benchmarks/speed/table.py"))
    whole = "100 + 400 steps, batch 4 then 1"
    page = made["write"](
        {},
        {},
        gpu_record(
            *gpu_steps("denoiser", 1, 0.1, 0.08, 0.2),
            *gpu_steps("denoiser", 4, 0.3, 0.2, 0.4),
            *gpu_steps("token", 1, 0.1, 0.1, 0.1),
            *gpu_steps("token", 4, 0.1, 0.1, 0.1),
            {"side": "ours", "what": "host waits in 8 steps of token", "found": "a\nwait"},
            {"side": "ours", "what": "a picture", "seconds": 0.25, "counted": 3},
            {"side": "diffusers", "what": "a picture", "seconds": 0.5, "counted": 3},
            *(
                {"side": "ours", "what": whole, "seconds": seconds, "counted": 1, "peak_bytes": 9e9}
                for seconds in (60.0, 90.0, 70.0)
            ),
            {"side": "ours", "what": "4 + 4, low memory", "peak_bytes": 3.5e9},
        ),
    )
    bars, told = made["BARS"], page.split("## On a GPU")[1]
    one, four = (bars[job, "step_seconds"] for job in ("dreambooth", "dreambooth-batch-4"))
    taken = "100 ms [50] | 80 ms [50] | 200 ms [50] | 0.50 | 0.40"
    assert f"| stage-two step, batch 1 | {taken} | {one:.2f} |" in told
    assert f"| 0.75 | 0.50 | {four:.2f} |" in told
    each = "25.0 / 25.0 / 25.0 % | 8.0 / 8.0 / 4.0 GB | 2.00 / 2.00 | 2.0 / 2.0 / 2.0 s"
    assert f"| stage-one step, batch 4 | {each} |" in told
    assert "| host waits in 8 steps of token | a wait |" in told
    assert f"| a picture | 0.25 s | 0.50 s | 0.50 | {bars['sampling', 'seconds']:.2f} |" in told
    assert f"| {whole} | 70.00 s, 9.0 GB |  |  |  |" in told
    assert "| 4 + 4, low memory | 3.5 GB |" in told
    assert made["MISSING"] not in told
    assert "Of what was to be compiled" not in told


def test_the_speed_page_says_what_was_not_measured_on_a_gpu():
    made = runpy.run_path(str(ROOT / "benchmarks/speed/table.py"))
    missing = made["MISSING"]
    steps = gpu_steps("denoiser", 1, 0.1, 0.08, 0.2)
    steps[1]["notices"] = ["a block could not be"]
    told = made["write"]({}, {}, gpu_record(*steps)).split("## On a GPU")[1]
    assert f"| stage-one step, batch 4 | {missing} | {missing} | {missing} |  |  |" in told
    for what in ("a picture", "a whole two-stage training", "training with `--low-memory`"):
        assert f"| {what} | {missing} |" in told
    assert f"| host waits for the GPU | {missing} |" in told
    assert "Of what was to be compiled: a block could not be" in told
    assert "## On a GPU" not in made["write"]({}, {}, {})
    assert f"| stage-two step, batch 1 | {missing} |" in made["write"]({}, {}, gpu_record())


def test_the_benchmarks_page_says_what_the_records_say():
    folder = ROOT / "benchmarks"
    assert (folder / "README.md").read_text("utf-8") == page(folder), "run `make docs`"


class UnderstoodError(Exception):
    """The command line was read to its end."""


def _stop(understood: list[str]) -> None:
    understood.append("work")
    raise UnderstoodError
