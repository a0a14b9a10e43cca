"""What was fetched from the Hub first, remembered between runs: a commit, and each file's digest.

Whoever loses it accepts whatever is there next, so that a file which cannot be read is an error.
"""

from collections.abc import Mapping
from pathlib import Path

import filelock
from pydantic import TypeAdapter, ValidationError

from rarebooth import bounded
from rarebooth.errors import BaseModelError, ResourceError

Pins = dict[str, dict[str, dict[str, str]]]
"""Repository -> commit -> file -> SHA-256 in hex."""

LONGEST_WAIT = 30
"""Seconds that another process may take to write its own."""

_PINS = TypeAdapter(Pins)


def read(path: Path) -> Pins:
    """The pins in a file; none where there is no file.

    Raises:
        BaseModelError: it cannot be read, or is damaged.
    """
    try:
        return _PINS.validate_python(bounded.read_json(path), strict=True)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValidationError as error:
        reason = "it does not hold digests by repository, commit and file"
        raise _damaged(path, reason) from error
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    except bounded.UnreadableError as error:
        raise _damaged(path, str(error)) from error


def add(path: Path, repository: str, commit: str, found: Mapping[str, str]) -> bool:
    """Pin a commit that is not pinned yet; False where that cannot be written.

    Raises what ``read`` does.
    """
    from rarebooth.store import write_json  # noqa: PLC0415  brings torch

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_name(f"{path.name}.lock"), timeout=LONGEST_WAIT):
            pins = read(path)
            pins.setdefault(repository, {}).setdefault(commit, dict(found))
            write_json(path, pins, indent=1)
    except (OSError, filelock.Timeout, ResourceError):
        return False
    return True


def _damaged(path: Path, reason: str) -> BaseModelError:
    return BaseModelError(
        f"{path}, which says what was first downloaded, cannot be read: {reason}. Put an intact "
        "copy there; or remove it, and what is in the Hub's cache now is recorded anew, without "
        "being held against what it was."
    )
