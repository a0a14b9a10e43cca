"""What can go wrong, said so that a person knows what to do next.

Every message names what was found, what was expected and what to do. The command line prints the
message and leaves with ``exit_code``; it never shows a traceback for one of these.
"""

import errno
import re

_ROOT = r"(?:[A-Za-z]:[\\/]|\\\\|~?/)"
_PATH = re.compile(
    rf"""(?P<quote>['"]){_ROOT}.*?(?P=quote)|(?<![\w.:/~\\]){_ROOT}[^\s'"]*[^\s'".,;:)]"""
)
"""An absolute path, in quotes or not, of POSIX or Windows; no part of a URL or of "and/or"."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

LONGEST_PATH = 200
"""Letters of a path that a message repeats, where its length may be what is wrong with it."""


class RareboothError(Exception):
    """The parent of every error that rarebooth raises on purpose."""

    exit_code = 1


class SettingsError(RareboothError):
    """A flag, setting, base or method that is unknown, contradictory or out of range."""

    exit_code = 2


class BaseModelError(RareboothError):
    """A base model that is missing, incomplete, of another kind, or not usable as asked."""

    exit_code = 2


class ArtifactError(RareboothError):
    """A subject file that cannot be read, is damaged, or belongs to another base model."""

    exit_code = 2


class PhotosError(RareboothError):
    """A folder of photos that is missing, empty, or holds nothing usable."""

    exit_code = 3


class ResourceError(RareboothError):
    """Memory, disk or an output folder that cannot be had."""

    exit_code = 4


class BusyError(RareboothError):
    """A run folder that another process is training into."""

    exit_code = 2


class DivergedError(RareboothError):
    """A loss or weight that stopped being a finite number."""

    exit_code = 5


class BenchmarkError(RareboothError):
    """Jobs of a benchmark that failed, whose errors are in their records."""


class Interrupted(RareboothError):
    """Work was asked to stop; what is needed to go on is saved."""

    exit_code = 130


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the machine or of its GPU, is used up."""
    # By name and text: torch is not imported for this, and its CPU allocator has no error type.
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, ImportError) and "failed to map segment" in str(error))
        or type(error).__name__ == "OutOfMemoryError"
        or "allocate memory" in str(error)
        or "out of memory" in str(error).lower()
        or "could not create a primitive" in str(error)  # what oneDNN says when it gets no memory
    )


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk, or a user's share of it, is used up."""
    # By text too: safetensors raises an error of its own.
    full = isinstance(error, OSError) and error.errno in _FULL
    return full or "No space left" in str(error) or "Disk quota exceeded" in str(error)


def told_without_paths(error: Exception, *known: str) -> str:
    """What went wrong, for a record that travels and must not tell whose machine it was.

    ``known``: paths that may hold spaces, so that their ends could not be seen.
    """
    message = str(error)
    for path in known:
        message = message.replace(path, "...")
    return f"{type(error).__name__}: {_PATH.sub('...', message)}".removesuffix(": ")
