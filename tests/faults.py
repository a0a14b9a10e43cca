"""A disk that fails at its n-th write, half-way, with an error or with the process's death."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from rarebooth import artifact, store
from rarebooth.exports import embedding


class Died(BaseException):
    """The process was killed: nothing that would run after it may act."""


class HalfWritten:
    """A file that takes half of what is written into it, and fails."""

    def __init__(self, file, fail):
        self.file, self.fail = file, fail

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        self.file.flush()
        self.fail()


class Faults:
    """Makes the ``at``-th thing done to the disk fail half-way, and, after a death, all later."""

    def __init__(self, monkeypatch, at, error):
        self.at, self.error, self.count, self.dead = at, error, 0, False
        self.log = []
        self.monkeypatch = monkeypatch
        for module, name in (
            (os, "fsync"),
            (os, "replace"),
            (os, "mkdir"),
            (os, "unlink"),
            (os, "rmdir"),
        ):
            self.guard(module, name)
        for module, name in (
            (store, "save_file"),
            (artifact, "save_file"),
            (embedding, "save_file"),
            (Image.Image, "save"),
            (shutil, "copyfile"),
            (Path, "write_text"),
        ):
            self.guard(module, name, torn)
        # Path.write_text opens its file by it, with "w".
        self.guard(Path, "open", half_written, lambda mode="r", *_, **__: mode[0] in "ax")

    def guard(self, module, name, harm=None, counts=None):
        """``harm``: what is done in place of a call that fails half-way. ``counts``: which do."""
        call = getattr(module, name)

        def guarded(*args, **kwargs):
            if counts and not counts(*args[1:], **kwargs):
                return call(*args, **kwargs)
            if self.dead:
                raise Died
            self.count += 1
            self.log.append((name, [str(arg) for arg in args if isinstance(arg, str | Path)]))
            if self.count != self.at:
                return call(*args, **kwargs)
            self.dead = self.error is Died
            return harm(self.fail, call, *args, **kwargs) if harm else self.fail()

        self.monkeypatch.setattr(module, name, guarded)

    def fail(self):
        raise self.error() if self.error is Died else self.error


def torn(fail, call, *args, **kwargs):
    """Writes a file, cuts it, and fails."""
    call(*args, **kwargs)
    *_, path = (arg for arg in args if isinstance(arg, Path))
    os.truncate(path, path.stat().st_size // 2)
    fail()


def half_written(fail, call, *args, **kwargs):
    """Opens a file that fails when half is written."""
    return HalfWritten(call(*args, **kwargs), fail)


@contextmanager
def faults(at: int, error: Exception | type[Died] = Died):
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield Faults(monkeypatch, at, error)


def operations(act):
    """How many things ``act`` does to the disk."""
    with faults(0) as counted:
        act()
    return counted.count
