"""Finding pickles, by their content, without unpickling: alone, in archives, in numpy's files.

A pickle is a program; the standard library's ``pickletools`` reads its operations and runs none.
"""

import bz2
import gzip
import pickletools
import re
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedIOBase
from itertools import islice
from pathlib import Path
from typing import IO, Literal

HEAD = 2**22
"""Bytes of a file that are looked at."""

MEMBER_HEAD = 2**16
"""Bytes of each file in an archive that are unpacked, which bounds what a bomb can do."""

MOST_MEMBERS = 10_000
MOST_OPERATIONS = 100_000
"""What begins with so many operations is a pickle."""

MARK = 0x80
NEWEST_PROTOCOL = 5
"""What pickles from protocol 2 on begin with, the second at most."""

_NAMING = frozenset({"GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"})
"""Operations that find a function or class."""
_CALLING = frozenset({"REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"})
"""Operations that call what was found."""
_FUNCTION = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*")

_PICKLED_NAME = re.compile(r"(^|/)pickle$|\.(pkl|pickle)$")
_OTHER_ARCHIVES = (b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"\x28\xb5\x2f\xfd", b"Rar!")
"""What xz, 7-zip, zstd and RAR begin with; they are not looked into."""
_ZIP = b"PK\x03\x04"
_NUMPY = b"\x93NUMPY"
_OBJECTS = re.compile(rb"""['"][|<>=]?O\d*['"]""")
"""How numpy's header names the type of arrays of objects, which it pickles."""


def find(path: Path, head: bytes) -> Literal["pickle", "archive"] | None:
    """Whether a file that begins with ``head`` is or holds a pickle, or is an archive without."""
    if is_pickle(head):
        return "pickle"
    members = _members(path, head)
    if members is None:
        return "archive" if head.startswith(_OTHER_ARCHIVES) else None
    return "pickle" if any(map(is_pickle, islice(members, MOST_MEMBERS))) else "archive"


def is_pickle(head: bytes) -> bool:
    """Whether bytes begin a pickle of any protocol, or a numpy file that holds one."""
    if head.startswith(_NUMPY):
        wide = head[6:7] != b"\x01"
        size = int.from_bytes(head[8 : 12 if wide else 10], "little")
        return _OBJECTS.search(head, 8, 12 + size) is not None
    marked = len(head) > 1 and head[0] == MARK and head[1] <= NEWEST_PROTOCOL
    return marked or is_program(head)


def is_program(head: bytes) -> bool:
    """Whether bytes can be read as operations of a pickle, up to a call or to its end.

    Bytes that mean something else seldom can: text and numbers soon hold one that is no operation,
    or that takes more from the stack than is there.
    """
    # A warning on an odd text must not end the reading where warnings are made errors.
    with suppress(Exception), warnings.catch_warnings(action="ignore"):
        return _runs(head)
    return False  # it decodes whatever stands there, and raises what decoders raise


def _runs(head: bytes) -> bool:
    named, count = False, 0
    marks: list[bool] = []
    for operation, argument, _ in pickletools.genops(head):
        count += 1
        if operation.name in {"GLOBAL", "INST"} and not _FUNCTION.fullmatch(str(argument)):
            return False
        if not _takes(operation, marks):
            return False
        named = named or operation.name in _NAMING
        if (named and operation.name in _CALLING) or count == MOST_OPERATIONS:
            return True
    return count > 1


def _takes(operation: pickletools.OpcodeInfo, marks: list[bool]) -> bool:
    """Whether the stack, of which only the marks are kept, holds what an operation takes."""
    taken = operation.stack_before
    if pickletools.markobject in taken:
        while marks:
            if marks.pop():
                break
        else:
            return False
        taken = taken[: taken.index(pickletools.markobject)]
    if len(marks) < len(taken):
        return False
    del marks[len(marks) - len(taken) :]
    marks += [item is pickletools.markobject for item in operation.stack_after]
    return True


def _members(path: Path, head: bytes) -> Iterator[bytes] | None:
    """How each file in an archive begins; None for what is no archive that can be looked into."""
    if head.startswith(b"\x1f\x8b"):
        return _unpacked(gzip.open(path, "rb"))
    if head.startswith(b"BZh"):
        return _unpacked(bz2.open(path, "rb"))
    if head.startswith(_ZIP) or zipfile.is_zipfile(path):
        return _in_zip(path, head)
    return _in_tar(path) if _is_tar(path) else None


def _unpacked(stream: IO[bytes] | BufferedIOBase) -> Iterator[bytes]:
    with stream:
        yield _beginning(stream)


def _beginning(stream: IO[bytes] | BufferedIOBase) -> bytes:
    try:
        return stream.read(MEMBER_HEAD)
    except Exception:  # damaged or encrypted, said by a dozen types of errors
        return b""


def _in_zip(path: Path, head: bytes) -> Iterator[bytes]:
    try:
        archive = zipfile.ZipFile(path)
    except Exception:  # half an archive: its list of members stood at the end
        yield from _if_named_so("x.pkl" if b".pkl" in head else "")
        return
    with archive:
        for member in archive.infolist():
            yield from _if_named_so(member.filename)
            with suppress(Exception), archive.open(member) as stream:
                yield _beginning(stream)


def _is_tar(path: Path) -> bool:
    return next(_in_tar(path), None) is not None


def _in_tar(path: Path) -> Iterator[bytes]:
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                yield from _if_named_so(member.name)
                stream = archive.extractfile(member) if member.isreg() else None
                yield b"" if stream is None else _beginning(stream)
    except Exception:  # no tar file, or half of one
        return


def _if_named_so(name: str) -> Iterator[bytes]:
    """A pickle's beginning for a member that is named like one, whatever it holds."""
    if _PICKLED_NAME.search(name):
        yield b"\x80\x02"
