"""What holds for the repository as a whole."""

import json
import os
import re
import socket
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
from PIL import Image

import rarebooth

ROOT = Path(__file__).parent.parent
LARGEST_FILE = 52_000_000
LARGEST_TREE = 58_000_000

# Character classes keep this file from finding itself.
FORBIDDEN = {
    "a path of somebody's machine": r"(?<![\w.~/])/(?:wor[k]|roo[t]|hom[e])/",
    "the host of a package index": r"pyp[i]\.org",
    "reading a pickle": r"pickl[e]\.loads?\b|\btorc[h]\.load\(",
    "running code from a model folder": r"trust_remote_cod[e]\s*=\s*True",
    "torchvision": r"^\s*(?:import|from) torchvisio[n]\b",
}


def run_python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd,
    )


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    files = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [file for file in files if file.is_file()]


def test_importing_the_package_does_not_import_torch():
    heavy = "{'torch', 'diffusers', 'transformers', 'matplotlib'}"
    run = run_python("-c", f"import rarebooth, sys; print(sorted({heavy} & set(sys.modules)))")
    assert run.stdout.strip() == "[]", run.stderr


def test_help_does_not_import_torch():
    run = run_python("-X", "importtime", "-m", "rarebooth", "--help")
    assert run.returncode == 0, run.stderr
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert not imported & {"torch", "diffusers", "transformers", "matplotlib", "numpy"}


def test_help_answers_at_once():
    def seconds(*arguments: str) -> float:
        """What a process took of a processor: waiting for one is no slowness of the help."""
        before = os.times()
        assert run_python(*arguments).returncode == 0
        after = os.times()
        user = after.children_user - before.children_user
        return user + after.children_system - before.children_system

    # Beside a bare interpreter, and the best of five: processors change their pace.
    bare = min(seconds("-c", "pass") for _ in range(5))
    assert min(seconds("-m", "rarebooth", "--help") for _ in range(5)) - bare < 0.5


HEAVY = ("torch", "transformers", "diffusers", "peft", "matplotlib")

RUNS_THE_COMMANDS = f"""
import json, sys
from rarebooth.cli import run

for words in json.loads(sys.argv[1]):
    print(json.dumps([run(words), [name for name in {HEAVY} if name in sys.modules]]))
"""


def imported_by(folder: Path, *commands: str) -> tuple[list[tuple[int, list[str]]], str]:
    """Exit code and heavy modules after each command of one process; and what it said of errors."""
    words = json.dumps([command.split() for command in commands])
    run = run_python("-c", RUNS_THE_COMMANDS, words, cwd=folder)
    lines = [line for line in run.stdout.splitlines() if line.startswith("[")]
    return [tuple(json.loads(line)) for line in lines], run.stderr


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (64, 64), "red").save(folder / "1.png")
    return folder


def test_what_is_mistyped_is_told_without_torch(photos):
    commands = (
        "train nowhere --noun dog --steps 5",
        "train --instance_data_dir nowhere --noun dog",
        "train photos --noun dog --base sd12",
        "train photos --noun dog --method two-stages",
        "generate nowhere a",
        "export nowhere --to embedding",
        "evaluate nowhere",
        "report nowhere",
    )
    said, errors = imported_by(photos.parent, *commands)
    assert said == [(3, []), (3, []), *[(2, [])] * 6], errors
    assert errors.count("nowhere") == 6
    assert "sd12" in errors
    assert "two-stages" in errors


def test_a_methods_help_and_wrong_settings_do_without_what_draws_and_judges(photos):
    commands = (
        "train --method two-stage --help",
        "methods",
        "train photos --noun dog --stepz 5",
        "train photos --base embedded",
        "train photos --noun dog --base embedded --lr fast",
    )
    said, errors = imported_by(photos.parent, *commands)
    assert said == [*[(0, ["torch"])] * 2, *[(2, ["torch"])] * 3], errors
    assert "Did you mean --steps?" in errors


def test_version_is_the_metadata_version():
    from importlib.metadata import version

    assert version("rarebooth") == rarebooth.__version__


def test_changelog_opens_with_unreleased():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_files_stay_small(tracked):
    sizes = {file.relative_to(ROOT).as_posix(): file.stat().st_size for file in tracked}
    assert {name: size for name, size in sizes.items() if size > LARGEST_FILE} == {}
    assert sum(sizes.values()) <= LARGEST_TREE


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_mentions(tracked, what):
    pattern = re.compile(FORBIDDEN[what], re.MULTILINE)
    found = []
    for file in tracked:
        content = file.read_bytes()
        if b"\0" in content:
            continue
        text = content.decode(errors="replace")
        found += [
            f"{file.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}"
            for match in pattern.finditer(text)
        ]
    assert found == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a path of somebody's machine", 'photos = "{}/me/photos"'.format("/hom" + "e")),
        ("the host of a package index", "https://pyp" + "i.org/simple"),
        ("reading a pickle", "pickle" + ".load(file)"),
        ("reading a pickle", "torch" + ".load(path)"),
        ("running code from a model folder", "trust_remote_code" + "=True"),
        ("torchvision", "from torch" + "vision import ops"),
    ],
)
def test_what_is_forbidden_would_be_found(what, line):
    assert re.search(FORBIDDEN[what], line, re.MULTILINE)


def test_every_direct_dependency_is_pinned():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    pins = re.findall(r"^([\w.-]+)==[\w.]+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)

    def canonical(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    names = {canonical(re.split(r"[^\w.-]", requirement)[0]) for requirement in wanted}
    assert names - {canonical(pin) for pin in pins} == set()


def test_a_test_cannot_reach_another_machine():
    with pytest.raises(RuntimeError, match="tests run offline"):
        socket.create_connection(("rarebooth.invalid", 80), timeout=1)
    # Connecting a datagram socket sends nothing, even where the guard fails.
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        pytest.raises(RuntimeError, match="tests run offline"),
    ):
        datagram.connect(("192.0.2.1", 9))


def test_a_test_can_reach_this_machine():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
