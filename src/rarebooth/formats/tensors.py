"""The layout of a safetensors file, read with suspicion: its length, a header of JSON, numbers.

safetensors refuses the same files; here the reason is said in words, and keys that stand twice,
which it lets pass, are refused too. Nothing is allocated because a header asks for it.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from rarebooth.errors import ArtifactError

LARGEST_HEADER = 100_000_000
"""Bytes of JSON (MAX_HEADER_SIZE in safetensors/src/tensor.rs)."""

LENGTH = 8
"""Bytes of the number that the file begins with."""

LONGEST_NAME = 1000
"""Characters of a tensor's name; those of Stable Diffusion's have less than 200."""

MOST_TENSORS = 30_000
"""Ten times what the largest models have; more are there to keep a reader busy."""

MOST_VALUES = 30 * MOST_TENSORS
"""Values of a header's JSON: three times what so many tensors take, for the texts beside them."""

MOST_DIMENSIONS = 64
"""What numpy and torch can say."""

CHUNK = 2**24
"""Bytes of numbers in memory at a time; whole numbers of any type."""

_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
"""Bits a number, by the types of safetensors 0.8."""

_NOT_FINITE: Mapping[str, tuple[str, int]] = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "C64": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F8_E5M2": ("<u1", 0x7C),
    "F8_E4M3": ("<u1", 0x7F),
}
"""How the numbers of a type are read, and the bits that are all set where one is not finite."""


class DamagedError(ArtifactError):
    """A safetensors file that is not whole; the message goes on a sentence about it."""


@dataclass(frozen=True)
class Stored:
    """A tensor as the header describes it; ``start`` and ``end`` count bytes of the numbers."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Layout:
    """A header: the tensors in the order of their numbers, and the texts beside them.

    ``numbers``: the byte of the file where the first number stands.
    """

    tensors: Mapping[str, Stored]
    metadata: Mapping[str, str]
    numbers: int


def begins_like_one(head: bytes) -> bool:
    """Whether a file that begins so means to be safetensors: a length below a terabyte, then {."""
    return head[5 : LENGTH + 1] == b"\0\0\0{"


def read_layout(file: BinaryIO, size: int) -> Layout:
    """Read and judge the header of a file of so many bytes; DamagedError says what is wrong."""
    length = int.from_bytes(file.read(LENGTH), "little")
    if length > LARGEST_HEADER:
        raise DamagedError(
            f"its header is said to be {length} bytes long, and {LARGEST_HEADER} are the most"
        )
    if LENGTH + length > size:
        raise DamagedError(
            f"its header is said to be {length} bytes long, and it has {size} in all"
        )
    try:
        content = file.read(length)
        # Each value but the first follows one of these; counted before anything is made of them.
        values = sum(content.count(mark) for mark in (b"[", b"{", b","))
        if values > MOST_VALUES:
            raise DamagedError(
                f"its header holds some {values} values, and {MOST_VALUES} are the most"
            )
        text = content.decode("utf-8")
        described = text.count('"data_offsets"')
        if described > MOST_TENSORS:
            raise DamagedError(
                f"its header describes {described} tensors, and {MOST_TENSORS} are the most"
            )
        header: Any = json.loads(text, object_pairs_hook=_once, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"its header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise DamagedError("its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(t, str) for t in metadata.values()):
        raise DamagedError("its __metadata__ holds something other than texts")
    tensors = {name: _stored(name, entry) for name, entry in header.items()}
    places = sorted((stored.start, stored.end, name) for name, stored in tensors.items())
    ordered = {name: tensors[name] for _, _, name in places}
    _require_covered(ordered, size - LENGTH - length)
    return Layout(ordered, metadata, LENGTH + length)


def not_finite(file: BinaryIO, layout: Layout) -> Iterator[str]:
    """The names of tensors that hold a number that is not finite; reads all of the numbers."""
    for name, stored in layout.tensors.items():
        if stored.dtype not in _NOT_FINITE:
            continue
        kind, bits = _NOT_FINITE[stored.dtype]
        file.seek(layout.numbers + stored.start)
        left = stored.end - stored.start
        while left > 0:
            chunk = file.read(min(left, CHUNK))
            if len(chunk) < min(left, CHUNK):
                raise DamagedError("it became shorter while it was read")
            left -= len(chunk)
            if bool((np.frombuffer(chunk, kind) & bits == bits).any()):
                yield name
                break


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DamagedError(f"its header says {shortened(key)} twice")
        found[key] = value
    return found


def _refused(constant: str) -> None:
    raise DamagedError(f"its header is not JSON ({constant} stands in it)")


def _stored(name: str, entry: object) -> Stored:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [start, end]}:
            pass
        case _:
            raise DamagedError(f"{shortened(name)} is described without type, shape and place")
    if len(name) > LONGEST_NAME:
        raise DamagedError(f"a tensor's name in it has {len(name)} characters")
    if dtype not in _BITS:
        raise DamagedError(f"{shortened(name)} is of the unknown type {shortened(dtype)}")
    if not all(map(_is_count, (*shape, start, end))):
        raise DamagedError(f"{shortened(name)} has a shape or place that is no whole numbers")
    if len(shape) > MOST_DIMENSIONS or math.prod(max(side, 1) for side in shape) >= 2**63:
        raise DamagedError(f"{shortened(name)} has an absurd shape, {shortened(str(shape))}")
    if math.prod(shape) * _BITS[dtype] != (end - start) * 8:
        raise DamagedError(
            f"{shortened(name)} is said to be {dtype} {tuple(shape)}, and to take the bytes from "
            f"{start} to {end}"
        )
    return Stored(dtype, tuple(shape), start, end)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _require_covered(ordered: Mapping[str, Stored], available: int) -> None:
    """Raise DamagedError unless the tensors lie one behind the other, up to the file's end."""
    place = 0
    for name, stored in ordered.items():
        if stored.start < place:
            raise DamagedError(f"{shortened(name)} overlaps another tensor")
        if stored.start > place:
            raise DamagedError(f"nothing says what the bytes before {shortened(name)} are")
        place = stored.end
    if place > available:
        raise DamagedError(f"its tensors take {place} bytes, and {available} are there")
    if place < available:
        raise DamagedError(f"{available - place} bytes follow its last tensor")


def shortened(text: str) -> str:
    """A text of unknown origin to be shown in a sentence: in quotes, and not all of a long one."""
    return repr(text if len(text) <= 80 else f"{text[:80]}...")
