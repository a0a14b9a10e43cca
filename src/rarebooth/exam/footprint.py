"""Rows: resolution, and how much room everything takes."""

import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from rarebooth.exam.candidate import Candidate
from rarebooth.exam.row import Row, absent, judged

BASE_BAR: Final = 44e6
JUDGES_BAR: Final = 8e6
TREE_BAR: Final = 58e6
"""Bytes."""

LARGE: Final = 128
"""Pixels, where a GPU did the training."""


def resolution_row(candidate: Candidate) -> Row:
    """The edge of the pictures, and what the base was trained on."""
    size, machine = candidate.base.size, candidate.recipe.get("machine")
    name, bar = "resolution", f"{LARGE} px if trained on a GPU"
    if machine is None:
        return absent(name, bar, f"{size} px; there is no recipe that says what it was trained on")
    return judged(
        name,
        bar,
        f"{size} px, trained on {machine}",
        {"pixels": size, "machine": machine},
        reached=size >= LARGE or "CPU" in machine,
        wanted=lambda: f"a training at {LARGE} px",
    )


def size_rows(candidate: Candidate, judges: Path, package: Path) -> Iterator[Row]:
    """Bytes of the base's folder, of the judges', and of the files that git tracks."""
    yield _size("size of the base", _files(candidate.folder), BASE_BAR)
    yield _size("size of the judges", _files(judges), JUDGES_BAR)
    tracked = _tracked(package)
    if tracked is None:
        yield absent("size of the working tree", _at_most(TREE_BAR), "not a checkout")
    else:
        yield _size("size of the working tree", tracked, TREE_BAR)


def _size(name: str, files: Iterable[Path], bar: float) -> Row:
    sizes = [file.stat().st_size for file in files]
    if not sizes:
        return absent(name, _at_most(bar), "absent")
    total = sum(sizes)
    return judged(
        name,
        _at_most(bar),
        f"{total / 1e6:.1f} MB in {len(sizes)} files",
        {"bytes": total, "files": len(sizes)},
        reached=total <= bar,
        wanted=lambda: f"{(total - bar) / 1e6:.1f} MB less",
    )


def _at_most(size: float) -> str:
    return f"at most {size / 1e6:g} MB"


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def _tracked(package: Path) -> list[Path] | None:
    """The files of the checkout that the package lies in; None where it lies in none."""
    root = package.parent.parent
    if not (root / ".git").exists():
        return None
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    files = (root / name for name in listed.stdout.split("\0") if name)
    return [file for file in files if file.is_file()]
