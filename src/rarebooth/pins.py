"""What was fetched from the Hub first, remembered between runs: a commit, and each file's digest.

Whoever loses it accepts whatever is there next, so that a file which cannot be read is an error.
"""

from collections.abc import Mapping
from pathlib import Path

import filelock
from pydantic import TypeAdapter, ValidationError

from rarebooth import bounded
from rarebooth.errors import BaseModelError, ResourceError, is_full

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


def add(path: Path, repository: str, commit: str, found: Mapping[str, str]) -> Mapping[str, str]:
    """Pin a commit; returns the digests that hold, which another process may have pinned first.

    Raises:
        BaseModelError: as ``read`` does.
        ResourceError: it cannot be written, and why.
    """
    from rarebooth.store import write_json  # noqa: PLC0415  brings torch

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_name(f"{path.name}.lock"), timeout=LONGEST_WAIT):
            pins = read(path)
            held = pins.setdefault(repository, {}).setdefault(commit, dict(found))
            write_json(path, pins, indent=1)
    except filelock.Timeout as error:
        raise ResourceError(
            f"another process has held {path} for more than {LONGEST_WAIT} seconds. It is recorded "
            "at the next start; end that process if it hangs."
        ) from error
    except (OSError, ResourceError) as error:
        cause = error.__cause__ if isinstance(error, ResourceError) else error
        if is_full(cause or error):
            way_out = "Make room there"
        else:
            way_out = "Make that folder one that can be written"
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
        raise ResourceError(
            f"{path} cannot be written ({reason}). {way_out}, or set HF_HOME to another."
        ) from error
    return held


def _damaged(path: Path, reason: str) -> BaseModelError:
    return BaseModelError(
        f"{path}, which says what was first downloaded, cannot be read: {reason}. Put an intact "
        "copy there; or remove it, and what is in the Hub's cache now is recorded anew, without "
        "being held against what it was."
    )
