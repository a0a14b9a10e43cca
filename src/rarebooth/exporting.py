"""Exporting as a job on disk: a run folder or subject file in, a folder for other programs out."""

import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
from safetensors import SafetensorError

from rarebooth import artifact, exports, hub
from rarebooth.base import Base
from rarebooth.bases import open_base
from rarebooth.errors import BusyError, ResourceError, SettingsError
from rarebooth.folder import AnyPath, subject_file
from rarebooth.store import flush, unwritable


@dataclass(frozen=True)
class Exported:
    """What an export made.

    ``size`` and ``subject_size``: bytes of the export and of the subject file. ``usage``: a line of
    code, or a command, that loads it.
    """

    folder: Path
    size: int
    subject_size: int
    usage: str


def export(
    run_or_file: AnyPath,
    to: str,
    out: AnyPath,
    *,
    checkpoint: str | None = None,
    base: str | None = None,
    settings: Mapping[str, Any] | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write a learnt subject into the new folder ``out`` as other programs read it.

    ``to``: a name of ``exports.TABLE``. ``settings``: the export's own, where they should differ
    from its defaults. ``base``: where the base lies, if it was a folder when the subject was
    trained. The folder appears when it is complete, or not at all.

    Raises:
        SettingsError: an unknown export or setting, an ``out`` that is taken, or a subject that
            cannot be said in this form.
        ArtifactError: no such subject, or one of another base.
        BusyError: another process is exporting into ``out``.
    """
    out = Path(out)
    kind = exports.find(to)
    for name in (settings or {}).keys() - getattr(kind, "__dataclass_fields__", {}).keys():
        raise SettingsError(f"--{name} does not go with --to {to}; leave it out.")
    file = subject_file(Path(run_or_file), checkpoint)
    learnt = artifact.load(file)
    _require_free(out)

    def borrow() -> tuple[Base, Path]:
        name = base or learnt.header.base.name
        opened = open_base(
            name,
            device="cpu",
            precision="fp32",
            resolution=learnt.header.size,
            from_file=base is None,
            notice=notice,
        )
        artifact.require_base(learnt, opened.identity)
        return opened, hub.find(name).folder

    with _appearing(out) as folder:
        source = exports.Source(learnt, out, borrow, notice)
        usage = kind(**(settings or {})).write(source, folder)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Exported(out, size, file.stat().st_size, usage)


def _require_free(out: Path) -> None:
    if out.suffix == ".safetensors":
        raise SettingsError(
            f"--out is {out}, a file's name; an export is a folder. Give the name of a new folder."
        )
    try:
        taken = out.is_symlink() or (any(out.iterdir()) if out.is_dir() else out.exists())
    except OSError as error:
        raise unwritable(out, error) from error
    if taken:
        raise SettingsError(
            f"{out} is there already, and an export replaces nothing. Choose a new folder with "
            "--out, or remove that one."
        )


@contextmanager
def _appearing(out: Path) -> Generator[Path]:
    """Yield an empty folder beside ``out`` that takes its place once all is written and flushed.

    A lock, which the system frees with its owner, tells what a killed export has left from what
    another one is writing.
    """
    place = out.resolve()
    beside = place.with_name(f".{place.name}.part")
    held = filelock.FileLock(place.with_name(f".{place.name}.lock"), timeout=0)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except filelock.Timeout as error:
        raise BusyError(
            f"Another process is exporting into {out}. Wait for it, or choose another folder with "
            "--out."
        ) from error
    except OSError as error:
        raise unwritable(place, error) from error
    try:
        shutil.rmtree(beside, ignore_errors=True)  # what a killed export has left
        beside.mkdir()
        yield beside
        for each in (*beside.rglob("*"), beside):
            flush(each)
        if place.is_dir():
            place.rmdir()  # empty; not every system renames a folder onto one
        beside.rename(place)
        flush(place.parent)
    except (OSError, SafetensorError) as error:
        raise unwritable(place, error) from error
    except ResourceError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError | SafetensorError):
            raise
        raise unwritable(place, cause) from error  # it told of the folder that is never seen
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        with suppress(OSError):  # Windows removes no open file
            Path(held.lock_file).unlink()  # before the release: filelock never takes a nameless one
        held.release()
