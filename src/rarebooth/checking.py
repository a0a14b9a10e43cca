"""What a file or folder of unknown origin is, and whether it is safe, without running any of it."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rarebooth import hub
from rarebooth.bases import open_base
from rarebooth.bounded import UnreadableError
from rarebooth.errors import ArtifactError, BaseModelError
from rarebooth.formats import UNKNOWN, Report, names, pickles, pipeline, tensors

if TYPE_CHECKING:
    from rarebooth.base import Base

__all__ = ["Report", "check"]

SUBJECT_HEADER = "rarebooth"
"""The text that a subject file has and other safetensors files have not."""

MOST_FILES = 10_000
"""Files of a folder that are looked at."""

PICKLE = "holds a pickle, which can run code; rarebooth never opens one"
MISNAMED = "is no pickle that can be told, and is named as what programs unpickle; remove it."
AGAIN = "Get it again from where it came."

Borrow = Callable[[], "Base"]


def check(path: Path, base: str | None = None) -> Report:
    """Tell by its content what a file or folder is; nothing in it is run, unpickled or imported.

    ``base``: a base that a subject file is held against; one that is not on this machine is not
    fetched. A subject's ``facts`` then say whether it ``fits``.

    Raises:
        ArtifactError: nothing is there, or nothing that can be read.
        BaseModelError: the base is unknown, incomplete, or not on this machine.
    """
    borrow = None if base is None else cache(lambda: _opened(base))
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ArtifactError(f"{path} is neither a file nor a folder. Name one of these.")
    try:
        report = _folder(path, borrow) if stat.S_ISDIR(mode) else _file(path, borrow)
    except OSError as error:
        raise _unreadable(path, error) from error
    if base is None or "fits" in report.facts or not report.safe:
        return report
    unasked = "Only a rarebooth subject says which base it is of; --base was not looked at."
    return replace(report, problems=(*report.problems, unasked))


def _file(path: Path, borrow: Borrow | None) -> Report:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(pickles.HEAD)
        file.seek(0)
        if tensors.begins_like_one(head):
            # One file can be both: the length may read as operations that skip what follows.
            if pickles.is_program(head):
                return _refused("pickle", size, f"It {PICKLE}. Its safetensors header is a cover.")
            return _safetensors(path, file, size, borrow)
    match pickles.find(path, head):
        case "pickle":
            return _refused("pickle", size, f"It {PICKLE}. Ask for it as safetensors.")
        case "archive":
            return _refused("archive", size, "It is an archive, and rarebooth opens none.")
        case None:
            what = "nothing that rarebooth knows" if size else "empty"
            return _refused(UNKNOWN, size, f"It is {what}.")


def _unreadable(path: Path, error: Exception) -> ArtifactError:
    reason = error.strerror if isinstance(error, OSError) else error
    return ArtifactError(f"{path} cannot be read: {reason}. Name a file or folder that can.")


def _refused(kind: str, size: int, problem: str) -> Report:
    return Report(kind, safe=False, facts={"size": size}, problems=(problem,))


def _safetensors(path: Path, file: BinaryIO, size: int, borrow: Borrow | None) -> Report:
    try:
        layout = tensors.read_layout(file, size)
        spoilt = list(tensors.not_finite(file, layout))
    except tensors.DamagedError as error:
        problem = f"It is a damaged safetensors file: {error}. {AGAIN}"
        return _refused("damaged safetensors file", size, problem)
    if SUBJECT_HEADER in layout.metadata:
        from rarebooth.formats import subject  # noqa: PLC0415  brings torch

        found = subject.read(path, layout, borrow)
        found = replace(found, problems=(*found.problems, *names.paths_in(layout)))
    else:
        found = names.recognise(layout)
    facts = {"size": size, "tensors": len(layout.tensors), "finite": not spoilt, **found.facts}
    if not spoilt or not found.safe:
        return replace(found, facts=facts)
    more = f" and {len(spoilt) - 1} more" if len(spoilt) > 1 else ""
    problem = f"Numbers that are not finite stand in {tensors.shortened(spoilt[0])}{more}. {AGAIN}"
    return Report(found.kind, False, facts, (*found.problems, problem))


def _folder(folder: Path, borrow: Borrow | None) -> Report:
    """A folder is as safe as what is in it; files that are no weights and no code do not count."""
    is_pipeline = (folder / pipeline.INDEX).is_file()
    facts, problems = pipeline.examine(folder) if is_pipeline else ({}, [])
    safe = True
    files: dict[str, str] = {}
    size = 0
    codes: list[str] = []
    told: list[str] = []
    fits: list[bool] = []
    links: list[str] = []
    every = list(islice(_files(folder, links), MOST_FILES + 1))
    if len(every) > MOST_FILES:
        raise ArtifactError(f"{folder} holds more than {MOST_FILES} files; name one within it.")
    for path in every:
        name = path.relative_to(folder).as_posix()
        report = _file(path, borrow)
        size += report.facts["size"]
        with path.open("rb") as file:
            head = file.read(pipeline.HEAD)
        try:
            if pipeline.is_code(path, head) or pipeline.names_code(path, head):
                codes.append(name)
        except UnreadableError as error:
            problems.append(f"{name} cannot be looked through: {error}.")
        if pipeline.is_index(path) and name != pipeline.INDEX:
            problems += [f"{name}: {problem}" for problem in pipeline.names_strangers(path)]
        undecided = report.kind == UNKNOWN and report.facts["size"]
        if (report.safe or undecided) and pickles.UNPICKLED.search(name):
            problems.append(f"{name} {MISNAMED}")
        if report.kind == UNKNOWN:
            continue
        files[name] = report.kind
        safe = safe and report.safe
        told += [f"{name}: {problem}" for problem in report.problems]
        fits += [report.facts["fits"]] if "fits" in report.facts else []
    if codes:
        problems.append(f"It brings or names code, which programs may run: {names.some(codes)}.")
    if links:
        problems.append(f"It links to folders, which were not looked into: {names.some(links)}.")
    safe = safe and not problems
    problems += told
    facts |= {"size": size, "files": files}
    if fits:
        facts["fits"] = all(fits)
    if is_pipeline:
        return Report("diffusers folder", safe, facts, tuple(problems))
    if not files:
        problems.append("Nothing in this folder is of a kind that rarebooth knows.")
        return Report(UNKNOWN, False, facts, tuple(problems))
    return Report("folder", safe, facts, tuple(problems))


def _files(folder: Path, links: list[str]) -> Iterator[Path]:
    """The plain files below a folder; devices are not opened.

    Links to folders are not followed, and are added to ``links``. Raises OSError where a folder
    cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, found in os.walk(folder, onerror=refuse):
        folders.sort()
        every = (Path(place, name) for name in folders)
        links += [path.relative_to(folder).as_posix() for path in every if path.is_symlink()]
        yield from (path for name in sorted(found) if (path := Path(place, name)).is_file())


def _opened(base: str) -> "Base":
    missing = hub.pending(base)
    if missing is not None:
        raise BaseModelError(
            f"Whether a subject fits the base {base!r} cannot be told: {missing}. A check "
            "downloads nothing; leave --base out, or name a folder."
        )
    return open_base(base, device="cpu", precision="fp32")
