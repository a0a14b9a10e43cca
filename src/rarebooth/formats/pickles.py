"""Finding pickles, by their content, without unpickling: alone, in archives, in numpy's files.

A pickle is a program; the standard library's ``pickletools`` reads its operations and runs none.
"""

import bz2
import gzip
import io
import pickletools
import re
import struct
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

MEMBER_HEAD = 2**14
"""Bytes of each file in an archive that are unpacked, which bounds what a bomb can do."""

MOST_UNPACKED = 2**18
"""Bytes of all files in an archive; of those beyond, only the names are looked at."""

MOST_MEMBERS = 10_000
LARGEST_DIRECTORY = 2**21
"""Bytes of a ZIP's list of members."""

MOST_OPERATIONS = 100_000
"""What begins with so many operations is a pickle."""

MARK = 0x80
NEWEST_PROTOCOL = 5
"""What pickles from protocol 2 on begin with, the second at most."""

_NAMING = frozenset({"GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"})
"""Operations that find a function or class."""
_CALLING = frozenset({"REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"})
"""Operations that call what was found."""
_INT = next(each for each in pickletools.opcodes if each.name == "INT")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*")

UNPICKLED = re.compile(r"\.(bin|ckpt|joblib|pickle|pkl|pt|pth)$", re.IGNORECASE)
"""What ends the names of files that programs unpickle, whatever these hold."""

_PICKLED_NAME = re.compile(r"(^|/)pickle$|\.(pkl|pickle)$")
_OTHER_ARCHIVES = (b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"\x28\xb5\x2f\xfd", b"Rar!")
"""What xz, 7-zip, zstd and RAR begin with; they are not looked into."""
_ZIP = b"PK\x03\x04"
_ZIP_END = struct.Struct("<4s4H2LH")
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
_ZIP64_LOCATOR = 20
_ZIP_COMMENT = 2**16
"""How a ZIP ends (APPNOTE.TXT, 4.3.14 to 4.3.16): records that count its members."""
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
    for operation, argument in _operations(head):
        count += 1
        if operation.name in {"GLOBAL", "INST"} and not _FUNCTION.fullmatch(str(argument)):
            return False
        if not _takes(operation, marks):
            return False
        named = named or operation.name in _NAMING
        if (named and operation.name in _CALLING) or count == MOST_OPERATIONS:
            return True
    return count > 1


def _operations(head: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, object]]:
    """What ``pickletools`` reads, and numbers that it does not and unpickling does: I0x1."""
    stream = io.BytesIO(head)
    while True:
        begins = stream.tell()
        try:
            for operation, argument, _ in pickletools.genops(stream):
                yield operation, argument
                begins = stream.tell()
        except ValueError:
            line = head[begins : stream.tell()]
            if line[:1] not in {b"I", b"L"}:
                raise
            yield _INT, int(line[1:].rstrip(b"\nL"), 0)
        else:
            return


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
    if head.startswith(_ZIP) or _is_zip(path):
        return _in_zip(path, head)
    return _in_tar(head) if _is_tar(head) else None


def _unpacked(stream: IO[bytes] | BufferedIOBase) -> Iterator[bytes]:
    with stream:
        yield _beginning(stream)


def _beginning(stream: IO[bytes] | BufferedIOBase, most: int = MEMBER_HEAD) -> bytes:
    try:
        return stream.read(min(MEMBER_HEAD, most))
    except Exception:  # damaged or encrypted, said by a dozen types of errors
        return b""


def _in_zip(path: Path, head: bytes) -> Iterator[bytes]:
    try:
        _require_small(path)
        archive = zipfile.ZipFile(path)
    except Exception:  # half an archive: its list of members stood at the end
        yield from _if_named_so("x.pkl" if b".pkl" in head else "")
        return
    left = MOST_UNPACKED
    with archive:
        for member in archive.infolist():
            yield from _if_named_so(member.filename)
            if not left:
                continue
            with suppress(Exception), archive.open(member) as stream:
                beginning = _beginning(stream, left)
                left -= len(beginning)
                yield beginning


def _is_zip(path: Path) -> bool:
    return any(_ends(path))


def _require_small(path: Path) -> None:
    """Raise ValueError for a ZIP whose list of members is longer than one should be read."""
    for count, size in _ends(path):
        if count > MOST_MEMBERS or size > LARGEST_DIRECTORY:
            raise ValueError(f"{count} members in {size} bytes")


def _ends(path: Path) -> Iterator[tuple[int, int]]:
    """What each record at the end of a ZIP says: how many members, and the bytes of their list."""
    with path.open("rb") as file:
        length = file.seek(0, io.SEEK_END)
        file.seek(max(0, length - _ZIP_COMMENT - _ZIP_END.size - _ZIP64_LOCATOR - _ZIP64_END.size))
        tail = file.read()
    # All of them: programs differ in which one they believe.
    for sign in re.finditer(rb"PK\x05\x06(?=.{18})", tail, re.DOTALL):
        _, _, _, _, count, size, _, _ = _ZIP_END.unpack_from(tail, sign.start())
        yield count, size
    for sign in re.finditer(rb"PK\x06\x06(?=.{52})", tail, re.DOTALL):
        _, _, _, _, _, _, _, count, size, _ = _ZIP64_END.unpack_from(tail, sign.start())
        yield count, size


def _is_tar(head: bytes) -> bool:
    return next(_in_tar(head), None) is not None


def _in_tar(head: bytes) -> Iterator[bytes]:
    left = MOST_UNPACKED
    try:
        with tarfile.open(fileobj=io.BytesIO(head), mode="r:") as archive:
            for member in archive:
                yield from _if_named_so(member.name)
                stream = archive.extractfile(member) if member.isreg() and left else None
                beginning = b"" if stream is None else _beginning(stream, left)
                left -= len(beginning)
                yield beginning
    except Exception:  # no tar file, or half of one
        return


def _if_named_so(name: str) -> Iterator[bytes]:
    """A pickle's beginning for a member that is named like one, whatever it holds."""
    if _PICKLED_NAME.search(name):
        yield b"\x80\x02"
