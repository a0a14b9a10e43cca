"""A disk that fails at its n-th write, half-way, with an error or with the process's death."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from rarebooth import artifact, store


class Died(BaseException):
    """The process was killed: nothing that would run after it may act."""


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
            self.guard(module, name, torn=False)
        for module in (store, artifact):
            self.guard(module, "save_file", torn=True)
        self.guard(Path, "write_text", torn=True)

    def guard(self, module, name, *, torn):
        call = getattr(module, name)

        def guarded(*args, **kwargs):
            if self.dead:
                raise Died
            self.count += 1
            self.log.append((name, [str(arg) for arg in args if isinstance(arg, str | Path)]))
            if self.count != self.at:
                return call(*args, **kwargs)
            self.dead = self.error is Died
            if torn:
                call(*args, **kwargs)
                path = next(arg for arg in args if isinstance(arg, Path))
                os.truncate(path, path.stat().st_size // 2)
            raise self.error() if self.error is Died else self.error

        self.monkeypatch.setattr(module, name, guarded)


@contextmanager
def faults(at: int, error: Exception | type[Died] = Died):
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield Faults(monkeypatch, at, error)


def operations(act):
    """How many things ``act`` does to the disk."""
    with faults(0) as counted:
        act()
    return counted.count
