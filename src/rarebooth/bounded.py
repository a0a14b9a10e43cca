"""Text and JSON of any origin, read up to a size and a depth.

JSON takes thirty times its size in memory once it is parsed, and parsers give up on deep nesting by
an error of their own.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

LARGEST = 2**24
"""Bytes of a file, where its reader says nothing else."""

DEEPEST = 64
"""Lists and objects within one another; configurations of models have about six."""

MOST_PARTS = 2**17
"""Lists and objects of a file in all; a tokenizer of CLIP has 49,000."""

Pairs = Callable[[list[tuple[str, Any]]], Any]


class UnreadableError(ValueError):
    """A file that is too large, no UTF-8, no JSON or too deep; the message says which, no name."""


def read_text(path: Path, most: int = LARGEST) -> str:
    """The text of a UTF-8 file of ``most`` bytes.

    Raises:
        OSError: it cannot be opened.
        UnreadableError: it is larger, or no UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UnreadableError(f"it is larger than the {most / 2**20:g} MiB that are read of it")
    try:
        return content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UnreadableError(str(error)) from error


def read_json(path: Path, most: int = LARGEST) -> Any:  # noqa: ANN401
    """What a JSON file of ``most`` bytes holds; raises what ``read_text`` and ``parsed`` do."""
    return parsed(read_text(path, most))


def parsed(text: str, pairs: Pairs | None = None) -> Any:  # noqa: ANN401
    """What JSON says, ``pairs`` made of each object's if given; UnreadableError if it is none."""
    if text.count("[") + text.count("{") > MOST_PARTS:
        raise UnreadableError(f"it holds more than {MOST_PARTS} lists and objects")
    too_deep = f"more than {DEEPEST} lists and objects lie within one another"
    try:
        content: Any = json.loads(text, object_pairs_hook=pairs)
    except RecursionError as error:
        raise UnreadableError(too_deep) from error
    except ValueError as error:
        raise UnreadableError(str(error)) from error
    level: list[Any] = [content]
    for _ in range(DEEPEST):
        level = [part for each in level for part in _parts(each) if isinstance(part, dict | list)]
        if not level:
            return content
    raise UnreadableError(too_deep)


def _parts(value: Any) -> Any:  # noqa: ANN401
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
