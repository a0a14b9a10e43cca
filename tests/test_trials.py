"""The table of what was tried tells what failed, and no part of a run replaces it."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

SETTING = """
from pathlib import Path
import trials
trials.FOLDER, trials.PAGE = Path(__file__).parent, Path(__file__).with_name("page.md")
trials.RECORD = trials.PAGE.with_suffix(".json")
"""
AFTER = """
import pytest

@pytest.mark.trials("R1", "fails after its attempts", quick=2, full=2)
def test_after(trials):
    for trial in trials:
        with trial:
            pass
    assert trials.survived == 3, "too | few"

@pytest.mark.trials("R2", "fails in an attempt", quick=2, full=2)
def test_within(trials):
    for trial in trials:
        with trial as number:
            assert number
"""
BEFORE = """
import pytest

@pytest.fixture
def broken():
    raise OSError("nothing here")

@pytest.mark.trials("R3", "fails before", quick=2, full=2)
def test_before(broken, trials):
    pass

@pytest.mark.trials("R4", "holds", quick=2, full=2)
def test_good(trials):
    for trial in trials:
        with trial:
            pass
"""

SKIPPED = """
import pytest

@pytest.mark.skipif(True, reason="needs a | moon")
@pytest.mark.trials("R5", "cannot be tried", quick=2, full=2)
def test_never(trials):
    pass

@pytest.mark.trials("R6", "finds out that it cannot", quick=2, full=2)
def test_not_here(trials):
    pytest.skip("no moon")
"""


TWO_AT_A_TIME = ("-p", "xdist.plugin", "-n", "2", "--dist", "worksteal")


def run(folder, *words):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "trials", "-p", "no:cacheprovider"]
    path = os.pathsep.join((str(Path(__file__).parent), *filter(None, sys.path)))
    subprocess.run(
        [*command, *words],
        cwd=folder,
        env={
            **os.environ,
            "TRIALS": "full",
            "PYTHONPATH": path,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        check=False,
    )
    page = folder / "page.md"
    return page.read_text("utf-8").splitlines() if page.exists() else None


def test_only_the_whole_folder_writes_the_table_and_it_tells_what_failed(tmp_path):
    modules = {"test_one": AFTER, "test_two": BEFORE, "test_three": SKIPPED}
    for name, text in {"conftest": SETTING, **modules}.items():
        (tmp_path / f"{name}.py").write_text(text, "utf-8")
    assert run(tmp_path, "test_one.py") is None
    assert run(tmp_path, "-k", "not good") is None
    assert run(tmp_path, *TWO_AT_A_TIME, "-k", "not good") is None
    lines = run(tmp_path)
    assert lines is not None
    rows = [line for line in lines if line.startswith("| R")]
    assert rows[1:] == [
        "| R2 | fails in an attempt | 2 | 1 |  |",
        "| R3 | fails before | 0 | 0, but **not the whole** | failed: OSError nothing here |",
        "| R4 | holds | 2 | 2 |  |",
        "| R5 | cannot be tried | 0 | **not tried here** | needs a / moon |",
        "| R6 | finds out that it cannot | 0 | **not tried here** | no moon |",
    ]
    (about,) = (line for line in lines if "Python" in line)
    assert re.search(r", \d+ cores?, \d+ GB of memory, \w+ \S+; Python 3\.\d+\.\d+, torch", about)
    assert re.match(rf"\d+ \w+ {datetime.now(UTC).year}", lines[lines.index(about) + 1])
    assert rows[0].startswith("| R1 | fails after its attempts | 2 | 2, but **not the whole** | ")
    assert "failed: AssertionError too / few" in rows[0]
    assert lines[lines.index(about) + 1].endswith("; 1 at a time, where nothing else is said.")
    two = run(tmp_path, *TWO_AT_A_TIME)
    assert two is not None
    assert [line for line in two if line.startswith("| R")] == rows
    assert any("; 2 at a time" in line for line in two)
    # A part renews its rows, and says so; on another machine it renews none.
    (tmp_path / "test_two.py").write_text(BEFORE.replace('OSError("nothing', 'KeyError("'), "utf-8")
    part = run(tmp_path, "test_two.py")
    assert part is not None
    renewed = [line for line in part if line.startswith("| R")]
    assert renewed[:2] == rows[:2]
    assert renewed[4:] == rows[4:]
    assert re.search(r"failed: KeyError ' here'; \d+ \w+ \d+.*; 1 at a time \|$", renewed[2])
    assert re.search(r"\| R4 \| holds \| 2 \| 2 \| \d+ \w+ \d+.*; 1 at a time \|$", renewed[3])
    record = tmp_path / "page.json"
    record.write_text(record.read_text("utf-8").replace("Python 3", "Python 2"), "utf-8")
    (tmp_path / "page.md").unlink()
    assert run(tmp_path, "test_two.py") is None


def test_a_process_that_died_leaves_no_table(tmp_path):
    dies = "import os\n\ndef test_dies():\n    os._exit(1)\n"
    for name, text in {"conftest": SETTING, "test_one": AFTER, "test_two": dies}.items():
        (tmp_path / f"{name}.py").write_text(text, "utf-8")
    assert run(tmp_path, *TWO_AT_A_TIME) is None
