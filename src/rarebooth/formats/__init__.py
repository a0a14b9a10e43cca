"""Reading files of unknown origin to tell what they are: one file for each thing to look at.

Nothing here runs, unpickles or imports what it reads, and nothing is believed for its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Report:
    """What a file or folder is.

    ``kind``: in words: "LoRA". ``safe``: it is of a kind that rarebooth knows, whole, and nothing
    in it can run code. ``facts``: what else is known, by name, as JSON could hold it. ``problems``:
    sentences on what is wrong, or what somebody may want to know before passing it on.
    """

    kind: str
    safe: bool
    facts: Mapping[str, Any]
    problems: tuple[str, ...]


UNKNOWN = "unknown"
