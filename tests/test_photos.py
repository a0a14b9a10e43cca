"""Any file decodes to the square a person would expect, or is refused with a reason."""

import io
import re
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from rarebooth import photos
from rarebooth.photos import UnusablePhotoError, decode

LOSSLESS = {"lossless": True}
FRAME = Image.new("RGB", (96, 96))


def picture(width=96, height=96):
    """Smooth, without any symmetry, so that a turned or mirrored copy is plainly another."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    channels = np.stack([x, y, (x + 2 * y * y) / 3], axis=-1)
    return Image.fromarray((channels * 255).astype(np.uint8))


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of(width, height, depth, colour, raw):
    """A PNG by hand, for what Pillow cannot write."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def webp_declaring(width, height):
    data = encoded(picture(), "WEBP")
    extent = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + extent + data[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def swapped_primaries():
    """An ICC profile whose red channel means sRGB's green, and the other way round."""
    primaries = {
        b"rXYZ": (0.3851, 0.7169, 0.0971),
        b"gXYZ": (0.4361, 0.2225, 0.0139),
        b"bXYZ": (0.1431, 0.0606, 0.7141),
        b"wtpt": (0.9642, 1.0, 0.8249),
    }
    bodies = {
        tag: b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in xyz)
        for tag, xyz in primaries.items()
    }
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(2.2 * 256), 0)
    bodies |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, data = struct.pack(">I", len(bodies)), b""
    start = 128 + 4 + 12 * len(bodies)
    for tag, body in bodies.items():
        table += tag + struct.pack(">II", start + len(data), len(body))
        data += body
    header = bytearray(128)
    header[0:4] = struct.pack(">I", start + len(data))
    header[8:12] = b"\x02\x40\0\0"
    header[12:24] = b"mntrRGB XYZ "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">iii", 63190, 65536, 54061)
    return bytes(header) + table + data


def pixels_of(data, size=64):
    pixels, _ = decode(data, size)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    return pixels.astype(int)


def reason_of(data):
    with pytest.raises(UnusablePhotoError) as caught:
        decode(data, 64)
    reason = str(caught.value)
    assert reason.startswith("this ")
    assert "\n" not in reason
    return reason


def flat(mode, colour):
    return Image.new(mode, (80, 80), colour)


def test_a_square_of_the_asked_size_comes_back_bit_for_bit():
    square = picture(64, 64)
    pixels, original = decode(encoded(square), 64)
    np.testing.assert_array_equal(pixels, np.asarray(square))
    assert original == (64, 64)
    assert not pixels.flags.writeable


@pytest.mark.parametrize("extent", [(128, 64), (64, 128)])
def test_the_centre_is_kept(extent):
    width, height = extent
    wide = picture(width, height)
    left, top = (width - 64) // 2, (height - 64) // 2
    middle = wide.crop((left, top, left + 64, top + 64))
    np.testing.assert_array_equal(pixels_of(encoded(wide)), np.asarray(middle))


@pytest.mark.parametrize("size", [32, 64, 200])
def test_resizing_keeps_a_smooth_picture(size):
    expected = np.asarray(picture(size, size)).astype(int)
    assert np.abs(pixels_of(encoded(picture(150, 150)), size) - expected).max() <= 6


def test_fine_stripes_become_grey_not_moire():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(pixels_of(encoded(Image.fromarray(stripes)))[:, 4:-4]) <= 4


@pytest.mark.parametrize(("kind", "tolerance"), [("PNG", 1), ("WEBP", 1), ("JPEG", 6)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_gives_the_same_upright_picture(kind, tolerance, orientation):
    upright = picture(131, 96)
    undo = {**{tag: tag for tag in range(1, 9)}, 6: 8, 8: 6}[orientation]
    turn = photos._UPRIGHT.get(undo)
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = LOSSLESS if kind == "WEBP" else {"quality": 98} if kind == "JPEG" else {}
    data = encoded(stored, kind, exif=exif, **options)
    # Pillow's own reading of the tag must agree that this file shows the upright picture.
    seen = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.abs(np.asarray(seen).astype(int) - np.asarray(upright)).max() <= tolerance
    pixels, original = decode(data, 64)
    assert original == (131, 96)
    assert np.abs(pixels.astype(int) - pixels_of(encoded(upright))).max() <= tolerance


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\xff\xff", b""])
def test_nonsense_in_exif_does_not_cost_a_good_photo(exif):
    pixels_of(encoded(picture(), "JPEG", exif=exif))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded(flat("L", 77)), (77, 77, 77)),
        (encoded(flat("L", 77), "JPEG"), (77, 77, 77)),
        (encoded(flat("1", 1)), (255, 255, 255)),
        (encoded(flat("RGB", (200, 30, 10)).quantize(4)), (200, 30, 10)),
        (encoded(flat("LA", (77, 255))), (77, 77, 77)),
        (encoded(flat("RGBA", (200, 30, 10, 0))), (255, 255, 255)),
        (encoded(flat("RGBA", (200, 0, 100, 128)), "WEBP", **LOSSLESS), (227, 127, 177)),
        (encoded(flat("P", 0), transparency=0), (255, 255, 255)),
        (encoded(flat("RGB", (9, 9, 9)), transparency=(9, 9, 9)), (255, 255, 255)),
        (encoded(flat("CMYK", (255, 0, 0, 0)), "JPEG"), (0, 255, 255)),
        (encoded(Image.fromarray(np.full((80, 80), 0x4D12, np.uint16))), (0x4D, 0x4D, 0x4D)),
        (
            png_of(80, 80, 16, 2, (b"\0" + struct.pack(">HHH", 0x4D12, 0xFFFF, 0) * 80) * 80),
            (0x4D, 255, 0),
        ),
    ],
)
def test_every_mode_becomes_8_bit_rgb_on_white(data, expected):
    assert np.abs(pixels_of(data) - expected).max() <= 2


@pytest.mark.parametrize("alpha", [(), (255,)])
def test_a_colour_profile_is_converted(alpha):
    image = flat("RGBA" if alpha else "RGB", (255, 0, 0, *alpha))
    red, green, blue = pixels_of(encoded(image, icc_profile=swapped_primaries()))[32, 32]
    assert red <= 8
    assert green >= 247
    assert blue <= 8


def test_a_colour_profile_serves_a_grey_picture_too():
    pixels = pixels_of(encoded(flat("L", 128), "JPEG", icc_profile=swapped_primaries()))
    assert np.abs(pixels - 128).max() <= 3


def test_a_damaged_profile_is_ignored():
    data = encoded(picture(64, 64), icc_profile=swapped_primaries()[:200])
    np.testing.assert_array_equal(pixels_of(data), np.asarray(picture(64, 64)))


def test_of_a_multi_picture_file_the_first_is_taken():
    first, second = flat("RGB", (0, 0, 255)), flat("RGB", (255, 0, 0))
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert np.abs(pixels_of(data) - (0, 0, 255)).max() <= 3


def test_decoding_a_large_jpeg_coarsely_changes_next_to_nothing():
    large = picture(1100, 900)
    exact = pixels_of(encoded(large))
    assert np.abs(pixels_of(encoded(large, "JPEG", quality=95)) - exact).max() <= 4
    assert decode(encoded(large, "JPEG"), 64)[1] == (1100, 900)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"hello, I am a note", "no picture"),
        (encoded(picture(), "GIF"), "GIF"),
        (encoded(picture(), "BMP"), "BMP"),
        (encoded(picture(), "TIFF"), "TIFF"),
        (encoded(picture(), "PDF"), "PDF"),
        (encoded(picture(), "EPS"), "EPS"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
        (b"SIMPLE  =                    T", "FITS"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\xef\xbb\xbf <svg/>", "SVG"),
        (b"<!DOCTYPE html><p>404", "HTML"),
        (b"PK\x03\x04" + bytes(60), "ZIP"),
        (b"\0\0\0\x20ftypavif" + bytes(60), "AVIF"),
        (encoded(picture(63, 90)), "63 x 90 pixels; the shorter side"),
        (encoded(picture(64, 200)), "64 x 200 pixels, too long"),
        (encoded(picture(), save_all=True, append_images=[FRAME]), "2 frames"),
        (encoded(picture(), "WEBP", save_all=True, append_images=[FRAME]), "2 frames"),
        (encoded(picture(), "JPEG")[:-400], "JPEG file is damaged"),
        (encoded(picture())[:-400], "PNG file is damaged"),
        (encoded(picture(), "WEBP")[:-100], "WebP file is damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "PNG file is damaged"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "JPEG file is damaged"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(data, expected):
    assert expected in reason_of(data)


@pytest.mark.parametrize(
    "data",
    [
        png_of(65535, 65535, 8, 2, bytes(100)),
        png_of(10_000, 10_000, 8, 2, bytes(100)),
        png_of(8_001, 8_000, 8, 2, bytes(100)),
    ],
)
def test_a_bomb_is_refused_by_its_header(data):
    start = time.perf_counter()
    assert "64 megapixels" in reason_of(data)
    assert time.perf_counter() - start < 1


def test_a_webp_bomb_is_refused_before_its_canvas_is_filled():
    start = time.perf_counter()
    # Some versions of Pillow find the lie in this header before they find its size.
    assert re.search("64 megapixels|damaged", reason_of(webp_declaring(16_000, 16_000)))
    assert time.perf_counter() - start < 1


def test_whatever_a_decoder_raises_becomes_a_reason(monkeypatch):
    def broken(*args, **kwargs):
        raise SyntaxError("broken\n  chunk")

    monkeypatch.setattr(Image, "open", broken)
    assert reason_of(encoded(picture())) == "this PNG file is damaged (broken chunk)"


def test_warnings_of_a_decoder_neither_show_nor_refuse(recwarn):
    pixels_of(encoded(picture(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"))
    assert not recwarn.list


def test_heic_without_its_reader_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(photos.importlib.util, "find_spec", lambda name: None)
    assert "pip install pillow-heif" in reason_of(b"\0\0\0\x1cftypheic" + bytes(60))


def test_heic_with_its_reader_is_a_photo_like_any_other():
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed").register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture(96, 131), "HEIF", quality=95, exif=exif.tobytes())
    pixels, original = decode(data, 64)
    assert original == (131, 96)
    upright = picture(96, 131).transpose(Image.Transpose.ROTATE_270)
    assert np.abs(pixels.astype(int) - pixels_of(encoded(upright))).max() <= 12
    assert "HEIC file is damaged" in reason_of(data[: len(data) // 2])


SEEDS = [
    encoded(picture(70, 80), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"),
    encoded(picture(70, 80).quantize(16)),
    encoded(picture(70, 80), "WEBP"),
    encoded(picture(70, 80), "MPO", save_all=True, append_images=[picture(70, 80)]),
]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=12),
    kept=st.floats(0.02, 1),
    tail=st.binary(max_size=40),
)
def test_a_mutated_file_is_a_picture_or_a_reason(seed, edits, kept, tail):
    data = bytearray(seed)
    for where, value in edits:
        data[int(where * len(data))] = value
    try:
        pixels, _ = decode(bytes(data[: int(kept * len(data))]) + tail, 64)
    except UnusablePhotoError as error:
        reason = str(error)
    else:
        reason = "this is a picture"
        assert pixels.shape == (64, 64, 3)
    assert reason.startswith("this ")
    assert "\n" not in reason
