"""Small files that claim or unfold to something huge: refused by their first bytes."""

import io
import re
import struct
import sys
import time
import zipfile
import zlib

import pytest
import resident
from PIL import Image

from rarebooth import decoder
from rarebooth.subject import read_folder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

SIZE = 64


def encoded(kind, **options):
    buffer = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name, body, length=None):
    length = len(body) if length is None else length
    return struct.pack(">I", length) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width, height, *others):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress(bytes(4 * 2**20))  # real pixels, for a decoder that would begin
    body = header + b"".join(others) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg(width, height):
    data = encoded("JPEG")
    frame = data.index(b"\xff\xc0")  # T.81, B.2.2: length, precision, height, width
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def webp(width, height):
    extent = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + extent + encoded("WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def nested_zip():
    data = bytes(2**22)
    for _ in range(5):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(16):
                archive.writestr(f"{number}.zip", data)
        data = buffer.getvalue()
    return data


def laughs():
    """XML entities of which each is ten of the one before."""
    entities = "".join(
        f'<!ENTITY l{number} "{f"&l{number - 1};" * 10}">' for number in range(1, 10)
    )
    text = f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY l0 "ha">{entities}]><svg>&l9;</svg>'
    return text.encode()


FITS = "".join(
    f"{card:<80}"
    for card in (
        "SIMPLE  =                    T",
        "BITPIX  =                    8",
        "NAXIS   =                    2",
        "NAXIS1  =                65535",
        "NAXIS2  =                65535",
        "END",
    )
)
TOO_LARGE = "the most is 64 megapixels"
BOMBS = {
    "PNG of 65535 x 65535": (lambda: png(65535, 65535), TOO_LARGE),
    "PNG of 10000 x 10000": (lambda: png(10_000, 10_000), TOO_LARGE),
    "PNG with a header of 1 GiB": (
        lambda: b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13), 2**30),
        "damaged",
    ),
    "PNG with 256 MiB of text": (
        lambda: png(200, 200, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**28), 1))),
        "damaged",
    ),
    "JPEG of 65500 x 65500": (lambda: jpeg(65500, 65500), TOO_LARGE),
    "WebP of 16000 x 16000": (lambda: webp(16_000, 16_000), f"{TOO_LARGE}|damaged"),
    "WebP that declares 1 GiB": (
        lambda: b"RIFF" + struct.pack("<I", 2**30) + encoded("WEBP")[8:200],
        "damaged",
    ),
    "ZIP in ZIP": (nested_zip, "kind ZIP"),
    "SVG": (lambda: b'<svg width="65535" height="65535"/>', "kind SVG"),
    "SVG of a billion laughs": (laughs, "no picture that can be recognised"),
    "EPS": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 65535 65535\n", "kind EPS"),
    "PDF": (lambda: b"%PDF-1.7\n1 0 obj <</MediaBox[0 0 14400 14400]>> endobj\n", "kind PDF"),
    "FITS": (FITS.encode, "kind FITS"),
}


@pytest.fixture(scope="module")
def bombs():
    return {name: (make(), expected) for name, (make, expected) in BOMBS.items()}


@pytest.mark.trials(
    "R11",
    "bombs named .png: each refused within 1 s, and the photo beside it read",
    quick=len(BOMBS),
    full=5 * len(BOMBS),
)
def test_a_bomb_is_refused_by_its_first_bytes(trials, bombs, tmp_path):
    decoder._shared.close()  # whose peak would be of what came before
    slowest, largest = 0.0, 0.0
    for trial in trials:
        with trial as number:
            name = list(bombs)[number % len(bombs)]
            data, expected = bombs[name]
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "photo.jpg").write_bytes(encoded("JPEG"))
            if number == 0:
                read_folder(folder, "dog", SIZE)  # the start of the child is no bomb's fault
            (folder / "bomb.png").write_bytes(data)
            began = time.perf_counter()
            read = read_folder(folder, "dog", SIZE)
            slowest = max(slowest, time.perf_counter() - began)
            assert [photo.name for photo in read.photos] == ["photo.jpg"]
            assert [each.name for each in read.refused] == ["bomb.png"], name
            assert re.search(expected, read.refused[0].reason), (name, read.refused)
            assert slowest <= 1, name
            child = decoder._shared.child
            assert child is not None
            largest = max(largest, resident.peak(child.pid))
            assert largest <= 200, name
    trials.figure(f"at most {1000 * slowest:.0f} ms; the decoder held {largest:.0f} MiB at most")
