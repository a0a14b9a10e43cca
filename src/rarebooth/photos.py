"""One picture file becomes the square of pixels the network sees, or a reason why it cannot.

Files come from anywhere, so nothing in them is trusted: the kind is told from the first bytes and
never from the name, only one decoder of four is ever started, the header's own dimensions are
checked before any pixel is decoded, and whatever a decoder raises becomes a reason.
"""

import contextlib
import importlib
import importlib.util
import io
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from rarebooth.errors import PhotosError
from rarebooth.world.signature import MINIATURE_KEY
from rarebooth.world.toys import TOYS

Pixels = NDArray[np.uint8]

LARGEST_PIXELS = 64_000_000
"""Width times height that a header may declare; phones at their usual setting make 12 to 50."""

LARGEST_BYTES = 128 * 2**20
"""Bytes that a file may have; it is held in memory while it is read."""

SHORTEST_SIDE = 64
"""Pixels on the shorter side, below which there is nothing to learn from."""

LONGEST_ASPECT = 2.5
"""Longer side over shorter side, beyond which a square would keep under 40 % of the picture."""

_MARK = re.compile(rf"({'|'.join(TOYS)}) [0-9]{{1,12}}")
"""What the miniature world says of an individual; any file can say more under the same key."""

_MARKED_WITHIN = 2**12
"""Bytes in which a rendered picture's mark is found: it stands before the pixels."""

_BEFORE_MARK = len(MINIATURE_KEY) + len(b"\0\0\0\0\0")
_MARKED = re.compile(rb"(?P<length>.{4})iTXt" + MINIATURE_KEY.encode() + rb"\0\0\0\0\0", re.DOTALL)
"""A chunk of uncompressed text without language or translation (PNG, 11.3.3.4)."""

_ORIENTATION = 0x0112
_UPRIGHT = {  # Exif 2.32, table 6, tag 274: how to turn the stored picture so that it stands up
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = 5  # this orientation and those above it exchange width and height

_MAGIC = tuple(  # by the file(1) database; a dot stands for any byte
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), kind)
    for pattern, kind in (
        (rb"\xff\xd8\xff", "JPEG"),
        (rb"\x89PNG\r\n\x1a\n", "PNG"),
        (rb"RIFF....WEBP", "WebP"),
        (rb"....ftyp(avif|avis)", "AVIF"),
        (rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1)", "HEIC"),
        (rb"GIF8[79]a", "GIF"),
        (rb"BM....\0\0\0\0", "BMP"),
        (rb"II\*\0|MM\0\*", "TIFF or camera raw"),
        (rb"%PDF", "PDF"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "EPS"),
        (rb"8BPS", "PSD"),
        (rb"SIMPLE  =", "FITS"),
        (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
        (rb"PK\x03\x04", "ZIP"),
        (rb"(\xef\xbb\xbf)?\s*<(svg|(\?xml|!--|!doctype svg).*<svg)", "SVG"),
        (rb"(\xef\xbb\xbf)?\s*<(!doctype )?html", "HTML"),
    )
)

READABLE = {"JPEG": "JPEG", "PNG": "PNG", "WebP": "WEBP", "HEIC": "HEIF"}
"""The kinds that ``decode`` takes and Pillow's names for them; HEIC needs ``pillow-heif``."""

HEAD_BYTES = 512
"""How many first bytes ``kind_of`` wants to see."""


class UnusablePhotoError(PhotosError):
    """One file that cannot be used; the message is the reason, without the file's name."""


def kind_of(head: bytes) -> str | None:
    """The kind of file that these first bytes begin, such as "JPEG" or "PDF"; None if unknown."""
    return next((kind for magic, kind in _MAGIC if magic.match(head)), None)


def decode(data: bytes, size: int) -> tuple[Pixels, tuple[int, int]]:
    """The middle square of a picture file, upright, in sRGB, ``size`` pixels a side.

    Turned as its EXIF orientation says, so that it looks as in any viewer. The largest centred
    square is kept and resized with Lanczos' antialiased filter, up or down. A colour profile is
    converted to sRGB where the profile is sound; 16 bits are scaled to 8; transparency is laid on
    white; of a camera's multi-picture file (MPO) the first picture is taken. Nothing but pixels
    comes back: no EXIF, place, time or thumbnail.

    Args:
        data: the whole file, JPEG, PNG, WebP or (with ``pillow-heif``) HEIC.
        size: side of the square, in pixels.

    Returns:
        uint8 [size, size, 3], read-only, and the upright picture's own (width, height).

    Raises:
        UnusablePhotoError: broken, truncated, empty, of another kind, animated, under
            ``SHORTEST_SIDE``, over ``LARGEST_PIXELS`` or longer than ``LONGEST_ASPECT``.
    """
    kind = kind_of(data[:HEAD_BYTES])
    decoder = _decoder_for(data, kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a large or oddly tagged picture is judged below
            with Image.open(io.BytesIO(data), formats=[decoder]) as picture:
                return _upright_square(picture, size)
    except UnusablePhotoError:
        raise
    except Image.DecompressionBombError:
        raise _too_large("far larger than any photo") from None
    except UnidentifiedImageError:
        raise UnusablePhotoError(f"this {kind} file is damaged at its beginning") from None
    except MemoryError:
        raise UnusablePhotoError(
            f"this {kind} file needs more memory than there is for it; save a smaller copy"
        ) from None
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise UnusablePhotoError(f"this {kind} file is damaged ({said})") from None


def _decoder_for(data: bytes, kind: str | None) -> str:
    if not data:
        raise UnusablePhotoError("this file is empty (0 bytes)")
    if kind is None:
        raise UnusablePhotoError("this is no picture that can be recognised: JPEG, PNG or WebP")
    if kind not in READABLE:
        raise UnusablePhotoError(f"this is a file of kind {kind}; save it as JPEG, PNG or WebP")
    if kind == "HEIC":
        if importlib.util.find_spec("pillow_heif") is None:
            raise UnusablePhotoError(
                "this is a HEIC photo; save it as JPEG, or have it read: pip install pillow-heif"
            )
        importlib.import_module("pillow_heif").register_heif_opener()
    return READABLE[kind]


def _upright_square(picture: Image.Image, size: int) -> tuple[Pixels, tuple[int, int]]:
    width, height = picture.size
    short, long = sorted((width, height))
    if width * height > LARGEST_PIXELS:
        raise _too_large(f"{width} x {height} pixels")
    if short < SHORTEST_SIDE:
        raise UnusablePhotoError(
            f"this is {width} x {height} pixels; the shorter side must be {SHORTEST_SIDE} or more"
        )
    if long > LONGEST_ASPECT * short:
        raise UnusablePhotoError(
            f"this is {width} x {height} pixels, too long for a square to show most of it; "
            "crop it around the subject"
        )
    frames: int = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format in {"PNG", "WEBP"}:
        raise UnusablePhotoError(
            f"this is an animation of {frames} frames; save the frame you want as JPEG or PNG"
        )
    # JPEG can leave out the finest detail while decoding; twice the asked size loses nothing
    # that the resize below would have kept.
    picture.draft(None, (2 * size, 2 * size))
    picture.load()
    orientation = _orientation(picture)
    profile: bytes | None = picture.info.get("icc_profile")
    square = _centre(_eight_bit(picture), size)
    flat = _on_white(_in_srgb(square, profile))
    upright = flat.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else flat
    pixels = np.array(upright, dtype=np.uint8)
    pixels.setflags(write=False)
    return pixels, (height, width) if orientation >= _SIDEWAYS else (width, height)


def _orientation(picture: Image.Image) -> int:
    """EXIF's 1 to 8; 1 where it says nothing, nonsense, or cannot be parsed."""
    with contextlib.suppress(Exception):
        value = picture.getexif().get(_ORIENTATION)
        if isinstance(value, int) and value in _UPRIGHT:
            return value
    return 1


def _eight_bit(picture: Image.Image) -> Image.Image:
    """The same picture in a mode that can be resized: L, RGB, RGBA or CMYK."""
    if picture.mode.startswith("I"):  # Pillow's own conversion to L clips at 255
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    if picture.mode in {"L", "RGB", "CMYK"}:
        return picture
    return picture.convert("RGB")


def _centre(picture: Image.Image, size: int) -> Image.Image:
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    return picture.resize((size, size), Image.Resampling.LANCZOS, box=box)


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB or RGBA in sRGB; a profile that is damaged, or is for other channels, is ignored."""
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    if profile:
        with contextlib.suppress(Exception):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            is_colour = profile[16:20] == b"RGB "  # ICC.1:2010, 7.2: the data colour space
            converted = ImageCms.profileToProfile(
                picture.convert(mode) if is_colour else picture,
                source,
                ImageCms.createProfile("sRGB"),
                outputMode=mode,
            )
            if converted is not None:
                return converted
    return picture.convert(mode)


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _too_large(found: str) -> UnusablePhotoError:
    return UnusablePhotoError(
        f"this is {found}; the most is {LARGEST_PIXELS // 10**6} megapixels: save a smaller copy"
    )


def world_mark(path: Path) -> str | None:
    """What a PNG that the miniature world rendered says it shows, "teapot 2008001"; else None.

    Photos of strangers are asked too, so nothing is decoded or decompressed for it: the mark is
    plain text among the file's first bytes.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_MARKED_WITHIN)
    except (OSError, ValueError):
        return None
    found = _MARKED.search(head) if kind_of(head) == "PNG" else None
    if found is None:
        return None
    text = head[found.end() : found.end() + int.from_bytes(found["length"]) - _BEFORE_MARK]
    return mark_in({MINIATURE_KEY: text.decode("utf-8", "replace")})


def mark_in(info: Mapping[Any, object]) -> str | None:
    """The same, of what Pillow has read of a PNG beside its pixels."""
    mark = info.get(MINIATURE_KEY)
    return str(mark) if isinstance(mark, str) and _MARK.fullmatch(mark) else None
