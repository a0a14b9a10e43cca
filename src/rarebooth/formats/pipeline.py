"""A folder in diffusers' layout: whether it names classes, or brings code, that nobody knows."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rarebooth import hub, model_index
from rarebooth.bases import FAMILIES
from rarebooth.bounded import UnreadableError, parsed, read_text
from rarebooth.errors import BaseModelError

INDEX = model_index.FILE

HEAD = 2**12
"""Bytes by which code, and JSON under another name, is known."""

LARGEST_JSON = 2**22
"""Bytes of a configuration that is looked through; a tokenizer's, the largest, has two million."""

_CODE = re.compile(r"\.(py[cdow]?|so(\.\d+)*|dll|dylib|exe|jar|(ba|z)?sh|bat|cmd|ps1|vbs)$")
"""How the names of files end that programs import, or systems run."""

_MACHINE_CODE = (
    *(b"\x7fELF", b"#!", b"\xca\xfe\xba\xbe"),
    *(b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xfe\xed\xfa\xce"),
)
"""How files begin that Linux and macOS run or load, whatever they are called."""


def examine(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """What the index says, and sentences on what keeps the folder from being a base."""
    facts: dict[str, Any] = {}
    problems: list[str] = []
    try:
        index = hub.read_json(folder / INDEX)
        facts["pipeline"] = str(index.get("_class_name"))
        problems += model_index.strangers(index)
        hub.pipeline_kind(folder, FAMILIES)
        hub.require_complete(folder)
    except BaseModelError as error:
        problems.append(str(error))
    return facts, problems


def names_strangers(path: Path) -> Iterator[str]:
    """Sentences on what an index names that nobody knows, or why it cannot be read."""
    try:
        yield from model_index.strangers(hub.read_json(path))
    except BaseModelError as error:
        yield str(error)


def is_index(path: Path) -> bool:
    """Whether some system opens a file as an index of a pipeline."""
    return path.name.casefold() == INDEX


def is_code(path: Path, head: bytes) -> bool:
    """Whether a file is code, by how its name ends or by how it begins."""
    named_so = _CODE.search(path.name.casefold().rstrip(". ")) is not None
    return named_so or head.startswith(_MACHINE_CODE) or _is_windows(head)


def names_code(path: Path, head: bytes) -> bool:
    """Whether a configuration names code that lies beside it, or elsewhere.

    Raises UnreadableError where a file that is called JSON cannot be looked through; one of another
    name is a configuration only if it can be read as one.
    """
    called_so = path.suffix.casefold() == ".json"
    if not called_so and not head.lstrip().startswith(b"{"):
        return False
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # Of two equal keys, whoever reads the file decides which one counts.
        found.extend(key for key, value in pairs if key in model_index.CODE_KEYS and value)
        return dict(pairs)

    try:
        parsed(read_text(path, LARGEST_JSON), note)
    except UnreadableError:
        if called_so:
            raise
        return False
    return bool(found)


def _is_windows(head: bytes) -> bool:
    """Whether bytes begin a program or library of Windows, by where its own header stands."""
    start = int.from_bytes(head[60:64], "little")
    return head.startswith(b"MZ") and head[start : start + 4] == b"PE\0\0"
