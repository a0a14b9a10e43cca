"""Files that survive a crash: atomic writes, a lock, and the state that a run resumes from.

A state is a folder ``state/<stage>-<step>/`` of safetensors with a manifest of SHA-256 digests. It
is written beside, flushed, renamed; only then are older states removed. Whatever the moment of a
crash, the newest folder whose manifest verifies is a complete state. Neither writing nor reading
holds more of it than one file's tensors beside those that are trained.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rarebooth.errors import DivergedError, ResourceError
from rarebooth.run import State

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
OPTIMISER = "optimiser-"
FINISHED = "finished-"
NO_FOLDERS = frozenset({errno.EINVAL, errno.ENOTSUP})
"""What some network file systems answer when asked to flush a folder."""


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(path: Path) -> Generator[Path]:
    """Yield a path beside ``path`` to write to; it replaces ``path`` only when complete.

    Raises ResourceError naming the file where it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        _flush_file(beside)
        beside.replace(path)
        _flush_folder(path.parent)
    except (OSError, SafetensorError) as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            beside.unlink()


def unwritable(path: Path, error: Exception) -> ResourceError:
    """The error to raise where ``path`` could not be written, with the reason and a way out."""
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if full or "No space left" in str(error):
        return ResourceError(
            f"No space is left to write {path.name} into {path.parent}. Free some space there, or "
            "choose another folder with --out; the run then continues where it was."
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ResourceError(
        f"{path.name} cannot be written into {path.parent}: {reason}. Choose a folder that can be "
        "written with --out."
    )


def write_json(path: Path, content: Mapping[str, Any], indent: int | None = 2) -> None:
    """Write JSON atomically, keys in the order given; without ``indent`` as short as it can be."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(content, indent=indent, separators=separators, ensure_ascii=False)
    with writing(path) as beside:
        beside.write_text(f"{text}\n", encoding="utf-8")


@contextmanager
def lock(folder: Path) -> Generator[None]:
    """Hold a run folder; ResourceError if another process is training into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(folder / ".lock", timeout=0)
        held.acquire()
    except filelock.Timeout as error:
        raise ResourceError(
            f"Another process is training into {folder}. Wait for it, or choose another folder "
            "with --out."
        ) from error
    except OSError as error:
        raise unwritable(folder / ".lock", error) from error
    try:
        yield
    finally:
        held.release()


def save_state(folder: Path, state: State) -> None:
    """Commit a state below ``folder``, then remove the states that it makes unnecessary.

    Raises DivergedError, and keeps the earlier state, where a number of ``state`` is not finite.
    """
    name = _name(state.stage, state.done)
    beside = folder / f".part-{name}-{os.getpid()}"
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for file, tensors in _files(state):
            _require_finite(tensors, name)
            # On a GPU, this file's tensors are all that is copied to the host at a time.
            save_file({key: tensor.cpu() for key, tensor in tensors.items()}, beside / file)
            _flush_file(beside / file)
        manifest = {
            "stage": state.stage,
            "done": state.done,
            "sha256": {file.name: digest(file) for file in sorted(beside.iterdir())},
        }
        (beside / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        _flush_file(beside / MANIFEST)
        _remove(folder / name)
        beside.replace(folder / name)
        _flush_folder(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise unwritable(folder / name, error) from error
    except DivergedError:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    for older in list(folder.iterdir()):
        if older.name != name:
            _remove(older)


def load_state(folder: Path) -> tuple[State | None, list[str]]:
    """The newest state below ``folder`` that verifies, and the names of those that do not."""
    damaged: list[str] = []
    if not folder.is_dir():
        return None, damaged
    candidates = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in sorted(candidates, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            manifest = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
            # The manifest has no digest of its own: the folder's name repeats what it says.
            renamed = entry.name != _name(manifest["stage"], manifest["done"])
            if renamed or any(
                digest(entry / name) != known for name, known in manifest["sha256"].items()
            ):
                damaged.append(entry.name)
                continue
            return _read_state(entry, manifest), damaged
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
            damaged.append(entry.name)
    return None, damaged


def _files(state: State) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """The files of a state: their names, and the tensors of each."""
    yield WEIGHTS, state.weights
    for slot, tensors in state.optimiser.items():
        yield f"{OPTIMISER}{slot}.safetensors", tensors
    for stage, tensors in state.finished.items():
        yield f"{FINISHED}{stage}.safetensors", tensors


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
    )


class _OnDisk(Mapping[str, Tensor]):
    """Tensors of a file, each read when it is asked for; the file is not held open or mapped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with safe_open(path, framework="pt") as file:
            self._names = tuple(file.keys())

    def __getitem__(self, name: str) -> Tensor:
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


def _flush_file(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    """Make the names in a folder last, where the system can: Windows opens no folders."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_FOLDERS:
            raise
    finally:
        os.close(handle)
