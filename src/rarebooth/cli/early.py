"""What a verb can refuse before it imports torch, so that a mistyped word is told at once.

The same is judged again, with all the rest, where the work begins.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rarebooth.errors import ArtifactError


def check_photos(folders: Iterable[Path]) -> None:
    """Raise PhotosError where a folder holds no photos."""
    from rarebooth.subject import require_pictures

    for folder in folders:
        require_pictures(folder)


def check_base(name: Any) -> None:  # noqa: ANN401  as a settings file has it
    """Raise UnknownBaseError where a base's name can mean none; other than text is judged later."""
    from rarebooth import hub

    if name and isinstance(name, str):
        hub.require_known(name)


def check_runs(paths: Sequence[Path], wanted: str = "run folder or subject file") -> None:
    """Raise ArtifactError where there is nothing at a path."""
    for path in paths:
        if not path.exists():
            raise ArtifactError(f"There is no {wanted} at {path}.")
