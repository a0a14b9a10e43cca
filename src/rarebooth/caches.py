"""Where what can be made anew is kept between runs."""

from collections.abc import Mapping
from pathlib import Path


def user_caches(environment: Mapping[str, str]) -> Path:
    """The folder that is rarebooth's own below the user's cache folder.

    Raises:
        RuntimeError: the user has no home folder.
    """
    caches = Path(environment.get("XDG_CACHE_HOME", ""))
    if not caches.is_absolute():  # which the XDG Base Directory Specification says to ignore
        caches = Path.home() / ".cache"
    return caches / "rarebooth"
