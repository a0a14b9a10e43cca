"""A subject: what it is called, and the photos it is learnt from."""

import hashlib
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from rarebooth.decoder import decode
from rarebooth.errors import PhotosError, SettingsError
from rarebooth.photos import (
    HEAD_BYTES,
    LARGEST_BYTES,
    READABLE,
    Pixels,
    UnusablePhotoError,
    kind_of,
)

MOST_PHOTOS = 50
"""Photos in one folder; three to five are usual (DreamBooth, section 3)."""

_PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".heic", ".heif", ".hif"),
    *(".avif", ".gif", ".bmp", ".tif", ".tiff", ".svg", ".eps", ".pdf", ".psd", ".jp2"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"),
)
_ADVICE = "put 4 to 6 photos of the subject there, as JPEG, PNG or WebP"
_LISTED = 8  # names in one message; the rest are counted

_SHEET_ROW = 6
_SHEET_GAP = 4
_SHEET_CELL = 128


@dataclass(frozen=True, eq=False)
class Photo:
    """One photo as the network sees it.

    ``digest`` is the SHA-256 of the file's bytes, in hex; ``pixels`` is uint8 [size, size, 3] in
    sRGB, read-only; ``original`` is the upright file's (width, height) before the crop.
    """

    name: str
    digest: str
    pixels: Pixels = field(repr=False)
    original: tuple[int, int]


@dataclass(frozen=True)
class Refusal:
    """A picture file that was left out, and why, as one sentence without the name."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Subject:
    """A class noun ("dog") and photos of one member of that class, all of one size.

    ``refused`` names the picture files that could not be used; ``skipped`` the things in the
    folder that are no pictures (hidden files, notes, folders). The noun is checked and its
    white space made single. Two subjects are the same if their nouns and digests are.

    Raises:
        SettingsError: the noun is blank or holds what no noun can hold (see ``checked_noun``).
    """

    noun: str
    photos: tuple[Photo, ...]
    refused: tuple[Refusal, ...] = ()
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "noun", checked_noun(self.noun))

    @property
    def images(self) -> Pixels:
        """All photos in file order: uint8 [N, size, size, 3], a fresh copy."""
        return np.stack([photo.pixels for photo in self.photos])

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of the crop size and every photo's digest in file order."""
        size = self.photos[0].pixels.shape[0]
        lines = [str(size), *(photo.digest for photo in self.photos)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def checked_noun(noun: str) -> str:
    """The noun with single spaces and none at its ends.

    Raises:
        SettingsError: blank, or with the placeholder "(rare)", a brace, an angle bracket (a
            prompt gives these a meaning of their own) or an invisible character.
    """
    clean = " ".join(noun.split())
    if not clean:
        raise SettingsError("the class noun is empty; say what the subject is, such as dog or mug")
    if any(unicodedata.category(char).startswith("C") for char in clean):
        raise SettingsError(
            f"the class noun {clean!a} holds an invisible character; type it again, plainly"
        )
    if "(rare)" in clean.lower() or any(char in "{}<>" for char in clean):
        raise SettingsError(
            f"the class noun {clean!r} holds a placeholder; give only the noun, such as dog: the "
            "word for this one subject is put before it by rarebooth"
        )
    return clean


def read_folder(folder: Path, noun: str, size: int) -> Subject:
    """Read a folder of photos, in natural order of name, without ever writing to it.

    A file is a photo if its first bytes say so, whatever its name; a file whose name claims a
    picture and whose bytes do not is refused by name, with the reason, while the others go on. So
    is a second copy of a photo. Hidden files, subfolders and all other files are skipped.

    Args:
        folder: where the photos lie; subfolders are not entered.
        noun: what the subject is, in the words a caption would use: "dog", "stuffed animal".
        size: side of the squares in pixels, as the base model wants it.

    Raises:
        PhotosError: no such folder, nothing usable in it, or more than ``MOST_PHOTOS`` pictures.
        SettingsError: a noun that ``checked_noun`` refuses, or a size below 1.
        ResourceError: the process that decodes photos cannot be started.
    """
    noun = checked_noun(noun)
    if size < 1:
        raise SettingsError(f"the photo size is {size}; it must be 1 pixel or more")
    pictures, skipped = _pictures_in(folder)
    photos: dict[str, Photo] = {}
    refused: list[Refusal] = []
    for path in pictures:
        name = _shown(path.name)
        try:
            data = bytes_of(path)
            digest = hashlib.sha256(data).hexdigest()
            if digest in photos:
                raise UnusablePhotoError(f"this is the same file as {photos[digest].name}")
            pixels, original = decode(data, size)
        except UnusablePhotoError as error:
            refused.append(Refusal(name, str(error)))
        else:
            photos[digest] = Photo(name, digest, pixels, original)
    if not photos:
        raise PhotosError(_nothing_usable(folder, refused, skipped))
    return Subject(noun, tuple(photos.values()), tuple(refused), tuple(skipped))


def require_pictures(folder: Path) -> None:
    """Raise the PhotosError that ``read_folder`` would, as far as can be told without decoding."""
    pictures, skipped = _pictures_in(folder)
    if not pictures:
        raise PhotosError(_nothing_usable(folder, [], skipped))


def photo_sheet(photos: Sequence[Photo]) -> Image.Image:
    """Exactly the crops the network sees, six to a row, on white.

    Each stands at its own size; below 128 pixels it is magnified by a whole number with hard
    edges, so that every pixel can still be told.
    """
    squares = [photo.pixels for photo in photos]
    count, size = len(squares), len(squares[0])
    cell = size * math.ceil(_SHEET_CELL / size)
    columns = min(count, _SHEET_ROW)
    step = cell + _SHEET_GAP
    extent = (columns * step + _SHEET_GAP, math.ceil(count / columns) * step + _SHEET_GAP)
    sheet = Image.new("RGB", extent, "white")
    for index, square in enumerate(squares):
        row, column = divmod(index, columns)
        crop = Image.fromarray(square).resize((cell, cell), Image.Resampling.NEAREST)
        sheet.paste(crop, (_SHEET_GAP + column * step, _SHEET_GAP + row * step))
    return sheet


def _pictures_in(folder: Path) -> tuple[list[Path], list[str]]:
    """The files to be read as pictures, and the names of everything else; as ``read_folder``."""
    try:
        if not folder.exists():
            raise PhotosError(f"there is no folder {str(folder)!r}; check the path")
        if not folder.is_dir():
            raise PhotosError(
                f"{str(folder)!r} is a file; give the folder that holds the subject's photos"
            )
        entries = sorted(folder.iterdir(), key=natural)
    except OSError as error:
        raise PhotosError(
            f"the folder {str(folder)!r} cannot be read ({error.strerror}); check its permissions"
        ) from None
    pictures = [path for path in entries if is_picture(path)]
    if len(pictures) > MOST_PHOTOS:
        raise PhotosError(
            f"{str(folder)!r} holds {len(pictures)} pictures, more than {MOST_PHOTOS}; copy the 4 "
            "to 6 that show one subject best to a folder of their own and name that"
        )
    chosen = set(pictures)
    return pictures, [_shown(path.name) for path in entries if path not in chosen]


def is_picture(path: Path) -> bool:
    """Whether a file is a picture by its first bytes, or claims to be one by its name."""
    if path.name.startswith("."):
        return False
    named = path.suffix.lower() in _PICTURE_SUFFIXES
    try:
        if named:
            return path.is_file() or not path.exists()  # a link to nothing is refused by name
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return kind_of(file.read(HEAD_BYTES)) in READABLE
    except OSError:
        return named  # which is refused by name, too


def bytes_of(path: Path) -> bytes:
    """A picture file's bytes; UnusablePhotoError where it cannot be read or is too large."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise UnusablePhotoError(f"this file cannot be read ({error.strerror})") from None
    if len(data) > LARGEST_BYTES:
        raise UnusablePhotoError(
            f"this file is larger than {LARGEST_BYTES // 2**20} MiB; save a smaller copy"
        )
    return data


def natural(path: Path) -> tuple[list[str | int], str]:
    """Sorts 2.jpg before 10.jpg, on every file system alike."""
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], path.name


def _shown(name: str) -> str:
    """A file name that can be printed and written anywhere: what is invisible is escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in name
    )


def _nothing_usable(folder: Path, refused: list[Refusal], skipped: list[str]) -> str:
    if refused:
        reasons = _listed([f"{each.name}: {each.reason}" for each in refused], "; ")
        return f"no picture in {str(folder)!r} can be used ({reasons}); {_ADVICE}"
    if skipped:
        return f"{str(folder)!r} holds no photos, only {_listed(skipped, ', ')}; {_ADVICE}"
    return f"{str(folder)!r} is empty; {_ADVICE}"


def _listed(items: list[str], between: str) -> str:
    more = len(items) - _LISTED
    return between.join(items[:_LISTED]) + (f"{between}and {more} more" if more > 0 else "")
