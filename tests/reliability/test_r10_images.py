"""A thousand pictures of which most are malformed: each is read right, or refused by name."""

import importlib
import importlib.util
import io
import random
import re
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
import resident
from PIL import Image

from rarebooth import decoder
from rarebooth.subject import MOST_PHOTOS, read_folder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

SIZE = 64
SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
LOSS = 24  # of 255, where JPEG and WebP write a smooth picture at their usual quality


@dataclass
class File:
    """``shows``: the upright picture that must be seen; ``reason``: what its refusal must match.

    One with neither may be read, as whatever it shows, or be refused.
    """

    suffix: str
    data: bytes
    shows: Image.Image | None = None
    reason: str | None = None


def picture(rng):
    """Smooth, without symmetry, and of no two numbers the same."""
    width, height = rng.randint(130, 400), rng.randint(200, 300)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    tint = rng.random()
    channels = np.stack([x, y, (x * tint + y * y) / 2], axis=-1)
    return Image.fromarray((channels * 255).astype(np.uint8))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def seed(rng):
    kind = rng.choice(sorted(SUFFIXES))
    image = picture(rng)
    return SUFFIXES[kind], image, encoded(image, kind)


def truncated(rng):
    suffix, _, data = seed(rng)
    kept = data[: rng.randint(1, len(data) * 4 // 5)]
    return File(suffix, kept, reason="damaged|no picture that can be recognised")


def mutated(rng):
    suffix, _, data = seed(rng)
    changed = bytearray(data)
    for _ in range(rng.randint(1, 30)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return File(suffix, bytes(changed))


def mutated_header(rng):
    suffix, _, data = seed(rng)
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(64)] = rng.randrange(256)
    return File(suffix, bytes(changed))


def wrong_suffix(rng):
    suffix, image, data = seed(rng)
    return File(rng.choice(sorted({*SUFFIXES.values()} - {suffix})), data, shows=image)


def empty(rng):
    return File(rng.choice(sorted(SUFFIXES.values())), b"", reason=r"empty \(0 bytes\)")


def cmyk(rng):
    image = picture(rng)
    return File("jpg", encoded(image.convert("CMYK"), "JPEG"), shows=image)


def sixteen_bit(rng):
    grey = picture(rng).convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    return File("png", encoded(deep, "PNG"), shows=grey.convert("RGB"))


def animated(rng):
    kind = rng.choice(("PNG", "WEBP", "GIF"))
    first = picture(rng)
    second = first.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    data = encoded(first, kind, save_all=True, append_images=[second])
    return File(SUFFIXES.get(kind, "gif"), data, reason="animation of 2 frames|GIF")


def rotated(rng):
    image, exif = picture(rng), Image.Exif()
    exif[0x0112] = 6
    stored = image.transpose(Image.Transpose.ROTATE_90)
    kind = rng.choice(sorted(SUFFIXES))
    return File(SUFFIXES[kind], encoded(stored, kind, exif=exif), shows=image)


def heic_header(rng):
    return File("heic", b"\0\0\0\x1cftypheic" + rng.randbytes(rng.randint(1, 5000)), reason="HEIC")


def heic(rng):
    image = picture(rng)
    return File("heic", encoded(image, "HEIF"), shows=image)


def truncated_heic(rng):
    data = heic(rng).data
    return File("heic", data[: rng.randint(1, len(data) - 1)], reason="damaged|no picture that can")


def mutated_heic(rng):
    changed = bytearray(heic(rng).data)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return File("heic", bytes(changed))


HEIC = importlib.util.find_spec("pillow_heif") is not None
"""Whether there is a reader of HEIC; without one, all are refused by how they begin."""

if HEIC:
    importlib.import_module("pillow_heif").register_heif_opener()

KINDS = (
    *(truncated, mutated, mutated_header, wrong_suffix, empty, cmyk, sixteen_bit, animated),
    *(rotated, heic_header),
    *((heic, truncated_heic, mutated_heic) if HEIC else ()),
)


def started():
    """The decoder's process, new, and as it is when it has read a picture."""
    decoder._shared.close()  # whose peak would be of what came before
    for kind in ("PNG", *(["HEIF"] if HEIC else [])):
        decoder.decode(encoded(picture(random.Random(0)), kind), SIZE)
    assert decoder._shared.child is not None
    return decoder._shared.child


def seen_as(image):
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.LANCZOS, box=box)).astype(int)


@pytest.mark.trials(
    "R10",
    "malformed pictures, 50 to a folder: each read right or refused by name, none dropped",
    quick=60,
    full=1000,
)
def test_each_picture_is_read_right_or_refused_by_name(trials, tmp_path):
    rng, child = random.Random(10), started()
    files: dict[str, File] = {}
    read, seconds, growth, refused = None, 0.0, 0.0, 0
    held = resident.now(child.pid)
    for trial in trials:
        with trial as number:
            if number % MOST_PHOTOS == 0:
                folder = tmp_path / str(number)
                folder.mkdir()
                files = {}
                for each in range(number, min(number + MOST_PHOTOS, trials.count)):
                    file = KINDS[each % len(KINDS)](rng)
                    files[f"{each}.{file.suffix}"] = file
                    (folder / f"{each}.{file.suffix}").write_bytes(file.data)
                read = None
                before = resident.now()
                resident.forget_peak()
                began = time.perf_counter()
                read = read_folder(folder, "dog", SIZE)
                seconds += time.perf_counter() - began
                assert decoder._shared.child is child, "a picture ended the decoder"
                growth = max(growth, resident.peak() - before)
                refused += len(read.refused)
                assert len(read.photos) + len(read.refused) == len(files)
                assert not read.skipped
            assert read is not None, "the folder was not read"
            name = next(each for each in files if each.startswith(f"{number}."))
            judge(files[name], name, read)
    mean = 1000 * seconds / trials.count
    grown = resident.peak(child.pid) - held
    trials.figure(
        f"{refused} refused by one decoder; mean {mean:.0f} ms; memory +{grown:.0f} MiB there, "
        f"+{max(growth, 0):.0f} MiB here" + ("" if HEIC else "; no reader of HEIC is installed")
    )
    assert mean <= 50
    assert growth + grown <= 300


def judge(file, name, read):
    photos = {each.name: each for each in read.photos}
    reasons = {each.name: each.reason for each in read.refused}
    assert (name in photos) != (name in reasons)
    if name in reasons:
        assert file.shows is None, reasons[name]
        assert reasons[name].startswith("this ")
        assert re.search(file.reason or "", reasons[name]), reasons[name]
        return
    assert file.reason is None, "a picture that shows nothing was taken"
    assert photos[name].pixels.shape == (SIZE, SIZE, 3)
    if file.shows is not None:
        assert photos[name].original == file.shows.size
        assert np.abs(photos[name].pixels.astype(int) - seen_as(file.shows)).max() <= LOSS


def test_a_picture_that_is_read_wrong_is_noticed(tmp_path):
    file = rotated(random.Random(0))
    (tmp_path / "0.x").write_bytes(file.data)
    read = read_folder(tmp_path, "dog", SIZE)
    judge(file, "0.x", read)
    assert file.shows is not None
    lying = File(file.suffix, file.data, file.shows.transpose(Image.Transpose.ROTATE_180))
    with pytest.raises(AssertionError):
        judge(lying, "0.x", read)
