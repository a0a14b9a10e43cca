"""Files that survive a crash: atomic writes, a lock, and the state that a run resumes from.

A state is a folder ``state/<stage>-<step>/`` of safetensors with a manifest of SHA-256 digests. It
is written beside, flushed, renamed. The one before stays until the next is written, so that two are
there at the most, and damage to the newest costs the steps of one. Whatever the moment of a crash,
the furthest folder whose manifest verifies is a complete state. Neither writing nor reading holds
more of it than one file's tensors beside those that are trained.
"""

import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rarebooth.errors import BusyError, DivergedError, ResourceError, is_full
from rarebooth.run import State

LOCK = ".lock"
OWNER = ".owner"
LONGEST_OWNER = 200
"""Letters of ``.owner`` that are repeated, whoever wrote it."""

OWNER_TRIES = 10

PATIENCE = 0.2
"""Seconds in which a folder that is locked may prove free: some only look whether it is."""

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
OPTIMISER = "optimiser-"
FINISHED = "finished-"
PIECES = "pieces.safetensors"
STATE_NAME = re.compile(r"[a-z][a-z0-9-]*-[0-9]{8,}")

_WINDOWS = os.name == "nt"

_NO_FOLDERS = frozenset({errno.EINVAL, errno.ENOTSUP})
"""What some network file systems answer when asked to flush a folder."""


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unfinished(path: Path) -> Path:
    """A new name beside ``path`` for what will replace it: nobody else has it, or can guess it.

    The process alone would not do: containers that share a folder number theirs from 1.
    """
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")


@contextmanager
def writing(path: Path, needed: int | None = None) -> Generator[Path]:
    """Yield a path beside ``path`` to write to; it replaces ``path`` only when complete.

    ``needed``: its bytes, where they are known. Raises ResourceError naming the file where it
    cannot be written.
    """
    beside = unfinished(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        flush(beside)
        beside.replace(path)
        flush(path.parent)
    except (OSError, SafetensorError) as error:
        raise unwritable(path, error, needed) from error
    finally:
        with suppress(OSError):
            beside.unlink()


def unwritable(path: Path, error: Exception, needed: int | None = None) -> ResourceError:
    """The error to raise where ``path`` could not be written, with the reason and a way out."""
    if is_full(error):
        wants = "" if needed is None else f"it takes {needed:,} bytes, and "
        return ResourceError(
            f"No space is left to write {path.name} into {path.parent}: {wants}{free(path):,} "
            "bytes are free. Free some space there and give the same command again: train, "
            "evaluate and bench (with --retry-failed) go on from what is saved, other commands "
            "begin anew."
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ResourceError(
        f"{path.name} cannot be written into {path.parent}: {reason}. Choose a folder that can be "
        "written with --out."
    )


def flush(path: Path) -> None:
    """Make a file, or the names in a folder, last, where the system can: Windows opens no folders.

    OSError where it fails.
    """
    if _WINDOWS and path.is_dir():
        return
    # Windows flushes only through a handle that may write; elsewhere a copy may be read-only.
    handle = os.open(path, os.O_RDWR if _WINDOWS else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not (path.is_dir() and error.errno in _NO_FOLDERS):
            raise
    finally:
        os.close(handle)


def write_json(path: Path, content: Mapping[str, Any], indent: int | None = 2) -> None:
    """Write JSON atomically, keys in the order given; without ``indent`` as short as it can be."""
    separators = (",", ":") if indent is None else None
    text = f"{json.dumps(content, indent=indent, separators=separators, ensure_ascii=False)}\n"
    with writing(path, len(text.encode())) as beside:
        beside.write_text(text, encoding="utf-8")


def write_nothing(folder: Path) -> None:
    """Make a folder where it is missing, and a file in it that is gone at once.

    Raises OSError where that cannot be, before work whose result would be lost.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def free(path: Path) -> int:
    """Bytes that are free where a file is, or would be."""
    place = next(each for each in path.absolute().parents if each.is_dir())
    return shutil.disk_usage(place).free


@contextmanager
def lock(folder: Path) -> Generator[None]:
    """Hold a run folder; BusyError if another process is training into it.

    The system frees it when its owner ends, however that happens. ``.owner`` says who that is.
    """
    owner = folder / OWNER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(folder / LOCK, timeout=PATIENCE)
        held.acquire()
    except filelock.Timeout as error:
        raise _busy(folder) from error
    except OSError as error:
        raise unwritable(folder / LOCK, error) from error
    try:
        with suppress(OSError):
            owner.unlink(missing_ok=True)  # somebody's link would be written through
            with owner.open("x", encoding="utf-8") as file:
                file.write(f"process {os.getpid()} on {platform.node()}")
        yield
    finally:
        with suppress(OSError):
            owner.unlink()
        held.release()


def require_free(folder: Path) -> None:
    """Raise BusyError if another process is training into a folder; writes nothing."""
    if not (folder / LOCK).exists():
        return
    held = filelock.FileLock(folder / LOCK, timeout=PATIENCE)
    try:
        held.acquire()
    except filelock.Timeout as error:
        raise _busy(folder) from error
    except OSError:
        return  # a folder that cannot be written is told where it is first written to
    held.release()


def _busy(folder: Path) -> BusyError:
    owner = "it does not say which"
    for _ in range(OWNER_TRIES):  # it may hold the lock and not have said so yet
        with suppress(OSError, ValueError):
            if said := (folder / OWNER).read_text("utf-8")[:LONGEST_OWNER]:
                owner = said
                break
        time.sleep(0.02)
    return BusyError(
        f"Another process is training into {folder} ({owner}). Wait for it, or choose another "
        "folder with --out."
    )


def save_state(folder: Path, state: State) -> None:
    """Commit a state below ``folder``, beside the one before it.

    Raises DivergedError, and keeps the earlier state, where a number of ``state`` is not finite.
    """
    name = _name(state.stage, state.done)
    beside = folder / f".part-{name}-{os.getpid()}"
    needed = sum(
        tensor.numel() * tensor.element_size()
        for _, tensors in _files(state)
        for tensor in tensors.values()
    )
    try:
        _leave_the_one_before(folder, state)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        flush(folder.parent)
        for file, tensors in _files(state):
            _require_finite(tensors, name)
            # On a GPU, this file's tensors are all that is copied to the host at a time.
            save_file({key: tensor.cpu() for key, tensor in tensors.items()}, beside / file)
            flush(beside / file)
        digests = {file.name: digest(file) for file in beside.iterdir()}
        text = _manifest_text(state.stage, state.done, digests)
        (beside / MANIFEST).write_text(text, encoding="utf-8")
        flush(beside / MANIFEST)
        flush(beside)
        beside.replace(folder / name)
        flush(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise unwritable(folder / name, error, needed) from error
    except DivergedError:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def load_state(folder: Path) -> tuple[State | None, list[str]]:
    """The furthest state below ``folder`` that verifies, and the names of those that do not."""
    damaged: list[str] = []
    for entry in sorted(_states(folder), key=_how_far, reverse=True):
        manifest = _verified(entry)
        try:
            if manifest is not None:
                return _read_state(entry, manifest), damaged
        except (OSError, KeyError, TypeError, SafetensorError):
            pass
        damaged.append(entry.name)
    return None, damaged


def _manifest_text(stage: str, done: int, digests: Mapping[str, str]) -> str:
    content = {"stage": stage, "done": done, "sha256": dict(sorted(digests.items()))}
    return json.dumps(content, indent=2)


def _manifest(entry: Path) -> Mapping[str, Any] | None:
    """What a state says of itself, if all but its digests can be relied upon; else None."""
    try:
        text = (entry / MANIFEST).read_bytes().decode("utf-8")
        said = json.loads(text)
        stage, done, digests = said["stage"], said["done"], said["sha256"]
        # The manifest has no digest of its own: its layout, the folder's name and the names of the
        # files repeat all that it says. Systems put files of their own there, which begin with ".".
        there = {file.name for file in entry.iterdir() if not file.name.startswith(".")}
        sound = (
            text == _manifest_text(stage, done, digests)
            and entry.name == _name(stage, done)
            and there == {MANIFEST, *digests}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return said if sound else None


def _verified(entry: Path) -> Mapping[str, Any] | None:
    """A state's manifest if all its files are as it says; else None."""
    manifest = _manifest(entry)
    if manifest is None:
        return None
    try:
        known = manifest["sha256"].items()
        whole = all(digest(entry / name) == expected for name, expected in known)
    except OSError:
        return None
    return manifest if whole else None


def _states(folder: Path) -> list[Path]:
    """The folders of states, whole or damaged; what has another name is none of ours."""
    if not folder.is_dir():
        return []
    return [entry for entry in folder.iterdir() if STATE_NAME.fullmatch(entry.name)]


def _how_far(entry: Path) -> tuple[int, int, str]:
    """Orders states by training, not by a clock: by the stages that are over, then by the step.

    A state whose manifest is not as it was written counts as furthest: what is damaged there may be
    the very place, and so it is named, and never behind a state that is sound.
    """
    manifest = _manifest(entry)
    if manifest is None:
        return sys.maxsize, 0, entry.name
    over = sum(name.startswith(FINISHED) for name in manifest["sha256"])
    return over, manifest["done"], entry.name


def _leave_the_one_before(folder: Path, state: State) -> None:
    """Make room for a state: of those there are, only the last one before it is left.

    Those that are no less far were found damaged when the run continued from an earlier one.
    """
    place = (len(state.finished), state.done)
    found = {entry: _how_far(entry) for entry in _states(folder)}
    earlier = [entry for entry, far in found.items() if far[:2] < place]
    last = max(earlier, key=found.__getitem__, default=None)
    for entry in found:
        if entry != last:
            _remove(entry)


def _files(state: State) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """The files of a state: their names, and the tensors of each."""
    yield WEIGHTS, state.weights
    for slot, tensors in state.optimiser.items():
        yield f"{OPTIMISER}{slot}.safetensors", tensors
    for stage, tensors in state.finished.items():
        yield f"{FINISHED}{stage}.safetensors", tensors
    if state.pieces > 1:
        yield PIECES, {"pieces": torch.tensor(state.pieces)}


def _read_state(entry: Path, manifest: Mapping[str, Any]) -> State:
    def group(prefix: str) -> dict[str, _OnDisk]:
        names = (Path(file).stem for file in manifest["sha256"] if file.startswith(prefix))
        return {name.removeprefix(prefix): _OnDisk(entry / f"{name}.safetensors") for name in names}

    return State(
        stage=manifest["stage"],
        done=manifest["done"],
        finished=group(FINISHED),
        weights=_OnDisk(entry / WEIGHTS),
        optimiser=group(OPTIMISER),
        pieces=int(_OnDisk(entry / PIECES)["pieces"]) if PIECES in manifest["sha256"] else 1,
    )


class _OnDisk(Mapping[str, Tensor]):
    """Tensors of a file, each read when it is asked for; the file is not held open or mapped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with safe_open(path, framework="pt") as file:
            self._names = tuple(file.keys())

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        with safe_open(self._path, framework="pt") as file:
            return file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _require_finite(tensors: Mapping[str, Tensor], state: str) -> None:
    for key, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise DivergedError(
                f"{key} holds a number that is not finite, so the state {state} was not saved. "
                "What was saved before is sound. Lower the learning rate or use --precision fp32, "
                "with another --out."
            )


def _remove(state: Path) -> None:
    """Remove a state, its name first: one that is half removed must not be taken for damaged."""
    unnamed = state.with_name(f".old-{state.name}")
    shutil.rmtree(unnamed, ignore_errors=True)
    with suppress(OSError):
        state.replace(unnamed)
    shutil.rmtree(unnamed, ignore_errors=True)


def _name(stage: str, done: int) -> str:
    return f"{stage}-{done:08d}"
