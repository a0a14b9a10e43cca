"""The exports, by name: one file each and one line here.

An export writes what was learnt as other programs read it. It is a frozen dataclass whose fields
are its settings; it is told where to write, and writes nowhere else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rarebooth.errors import SettingsError

if TYPE_CHECKING:
    from rarebooth.artifact import Artifact
    from rarebooth.base import Base

TABLE = {
    "diffusers": "rarebooth.exports.diffusers_folder:DiffusersFolder",
    "embedding": "rarebooth.exports.embedding:Embedding",
    "low-rank": "rarebooth.exports.low_rank:LowRankSubject",
}
"""Name -> "module:Class"; loaded on first use, so that listing names imports nothing heavy."""


@dataclass(frozen=True)
class Source:
    """What is exported, and what an export may ask for.

    ``out``: where the export will stand in the end, for the sentence that says how to load it.
    ``borrow``: opens the base that the subject was trained on, and says in which folder it lies.
    """

    learnt: "Artifact"
    out: Path
    borrow: Callable[[], tuple["Base", Path]]
    notice: Callable[[str], None]


class Export(Protocol):
    """One way to write a subject."""

    def write(self, source: Source, folder: Path) -> str:
        """Write into the empty ``folder``; returns a line of code or command that loads it.

        Raises SettingsError where what was learnt cannot be said in this form.
        """
        ...


def find(name: str) -> type[Export]:
    """The export's class; SettingsError for an unknown name."""
    if name not in TABLE:
        raise SettingsError(f"Unknown export {name!r}; known: {', '.join(TABLE)}.")
    module, _, attribute = TABLE[name].partition(":")
    return getattr(import_module(module), attribute)
