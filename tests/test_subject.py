"""A folder of photos becomes a subject; what is left out is named, and nothing is written."""

import hashlib
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rarebooth import subject as module
from rarebooth.errors import PhotosError, SettingsError
from rarebooth.subject import Photo, Refusal, Subject, checked_noun, photo_sheet, read_folder

DREAMBENCH = os.environ.get("RAREBOOTH_DREAMBENCH", "")


def save(path, seed=0, extent=(80, 80), **options):
    noise = np.random.default_rng(seed).integers(0, 256, (*extent[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **options)
    return path


def snapshot(folder):
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}
    return files, times


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "Ünser Hund 犬"
    home.mkdir()
    return home


def make_subject(count, size):
    noise = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    photos = (
        Photo(f"{i}.png", f"{i:064x}", square, (size, size)) for i, square in enumerate(noise)
    )
    return Subject("dog", tuple(photos))


def test_good_photos_go_on_and_the_others_are_named(folder):
    save(folder / "IMG_10.jpg", 1)
    save(folder / "img_2.png", 2, extent=(120, 80))
    save(folder / "IMG_1.webp", 3)
    save(folder / "really-a-jpeg.png", 4, format="JPEG")
    save(folder / "no-suffix", 5, format="PNG")
    (folder / "copy.jpg").write_bytes((folder / "IMG_10.jpg").read_bytes())
    (folder / "empty.jpg").touch()
    save(folder / "film.png", 6, format="GIF")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt"):
        (folder / name).write_bytes(b"whatever")
    save(folder / "._IMG_1.jpg", 7)
    (folder / "more.jpg").mkdir()
    before = snapshot(folder)

    subject = read_folder(folder, " stuffed \t animal ", 64)

    assert snapshot(folder) == before
    assert subject.noun == "stuffed animal"
    names = [photo.name for photo in subject.photos]
    assert names == ["copy.jpg", "IMG_1.webp", "img_2.png", "no-suffix", "really-a-jpeg.png"]
    assert subject.photos[2].original == (120, 80)
    expected = hashlib.sha256((folder / "img_2.png").read_bytes()).hexdigest()
    assert subject.photos[2].digest == expected
    assert [refusal.name for refusal in subject.refused] == ["empty.jpg", "film.png", "IMG_10.jpg"]
    reasons = {refusal.name: refusal.reason for refusal in subject.refused}
    assert "empty" in reasons["empty.jpg"]
    assert "GIF" in reasons["film.png"]
    assert reasons["IMG_10.jpg"] == "this is the same file as copy.jpg"
    assert set(subject.skipped) == {
        ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "._IMG_1.jpg", "more.jpg",
    }  # fmt: skip
    assert subject.images.shape == (5, 64, 64, 3)
    assert subject.images.dtype == np.uint8
    np.testing.assert_array_equal(subject.images[1], subject.photos[1].pixels)


def test_names_sort_as_people_count(folder):
    for index, name in enumerate(["10.png", "9.png", "1.png", "a2b10.png", "a2b9.png", "B.png"]):
        save(folder / name, index)
    names = [photo.name for photo in read_folder(folder, "dog", 64).photos]
    assert names == ["1.png", "9.png", "10.png", "a2b9.png", "a2b10.png", "B.png"]


def test_the_digest_follows_content_order_and_crop_size_alone(folder, tmp_path):
    save(folder / "1.png", 1)
    save(folder / "2.png", 2)
    digest = read_folder(folder, "dog", 64).digest
    assert digest == read_folder(folder, "cat", 64).digest
    assert digest != read_folder(folder, "dog", 32).digest
    renamed = tmp_path / "again"
    renamed.mkdir()
    save(renamed / "a.png", 1)
    save(renamed / "b.png", 2)
    assert read_folder(renamed, "dog", 64).digest == digest
    (renamed / "a.png").rename(renamed / "c.png")
    assert read_folder(renamed, "dog", 64).digest != digest


def test_links_are_files_and_a_broken_one_is_named(folder, tmp_path):
    save(tmp_path / "elsewhere.png")
    (folder / "a.png").symlink_to(tmp_path / "elsewhere.png")
    (folder / "b.png").symlink_to(tmp_path / "gone.png")
    subject = read_folder(folder, "dog", 64)
    assert [photo.name for photo in subject.photos] == ["a.png"]
    assert subject.refused == (
        Refusal("b.png", "this file cannot be read (No such file or directory)"),
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(folder):
    save(folder / "a.png")
    os.mkfifo(folder / "b.png")
    os.mkfifo(folder / "c")
    (folder / "d.png").symlink_to(folder / "c")
    assert read_folder(folder, "dog", 64).skipped == ("b.png", "c", "d.png")


def test_a_huge_file_is_not_read_to_its_end(folder, monkeypatch):
    save(folder / "a.png", extent=(64, 64))
    save(folder / "b.png", extent=(128, 128))
    monkeypatch.setattr(module, "LARGEST_BYTES", 20_000)
    subject = read_folder(folder, "dog", 64)
    assert [refusal.name for refusal in subject.refused] == ["b.png"]
    assert "larger than" in subject.refused[0].reason


def test_a_name_that_cannot_be_printed_is_escaped(folder):
    save(folder / "a\x1b[31m\n.png")
    assert read_folder(folder, "dog", 64).photos[0].name == "a\\x1b[31m\\n.png"


def test_nothing_usable_names_every_reason(folder):
    with pytest.raises(PhotosError, match="is empty; put 4 to 6 photos"):
        read_folder(folder, "dog", 64)
    (folder / "notes.txt").write_text("hello")
    with pytest.raises(PhotosError, match=r"holds no photos, only notes\.txt; put"):
        read_folder(folder, "dog", 64)
    (folder / "a.jpg").touch()
    save(folder / "b.png", extent=(30, 30))
    pattern = r"a\.jpg: this file is empty .*; b\.png: this is 30 x 30 pixels"
    with pytest.raises(PhotosError, match=pattern) as caught:
        read_folder(folder, "dog", 64)
    assert caught.value.exit_code == 3
    for index in range(30):
        (folder / f"c{index}.jpg").touch()
    with pytest.raises(PhotosError, match=r"and 24 more\); put"):
        read_folder(folder, "dog", 64)


def test_what_is_no_folder_is_said_to_be_none(folder):
    with pytest.raises(PhotosError, match=r"there is no folder .*gone"):
        read_folder(folder / "gone", "dog", 64)
    with pytest.raises(PhotosError, match=r"a\.png' is a file; give the folder"):
        read_folder(save(folder / "a.png"), "dog", 64)


def test_a_folder_that_cannot_be_listed(folder, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(PhotosError, match=r"cannot be read .Permission denied.; check"):
        read_folder(folder, "dog", 64)


def test_too_many_pictures_are_not_even_decoded(folder, monkeypatch):
    monkeypatch.setattr(module, "decode", lambda *args: pytest.fail("decoded"))
    for index in range(51):
        (folder / f"{index}.jpg").touch()
    with pytest.raises(PhotosError, match="holds 51 pictures, more than 50; copy the 4 to 6"):
        read_folder(folder, "dog", 64)


@pytest.mark.parametrize(
    "noun",
    [
        "",
        "  \n",
        "(rare) dog",
        "a (RARE) dog",
        "<rare> dog",
        "{} dog",
        "dog}",
        "do\x00g",
        "do\u200bg",
    ],
)
def test_a_noun_that_is_none(noun, folder):
    with pytest.raises(SettingsError, match="noun"):
        checked_noun(noun)
    with pytest.raises(SettingsError, match="noun"):
        Subject(noun, ())
    with pytest.raises(SettingsError, match="noun"):
        read_folder(folder / "never looked at", noun, 64)


@pytest.mark.parametrize("noun", ["dog", "stuffed animal", "tea-pot", "rare coin", "犬", "l'œuf"])
def test_a_noun_that_is_one(noun):
    assert checked_noun(f"  {noun.replace(' ', '   ')}\n") == noun


def test_a_size_below_one_pixel(folder):
    with pytest.raises(SettingsError, match="photo size is 0"):
        read_folder(folder, "dog", 0)


@pytest.mark.parametrize(
    ("count", "size", "cell", "grid"),
    [(1, 64, 128, (1, 1)), (5, 64, 128, (5, 1)), (7, 50, 150, (6, 2)), (12, 130, 130, (6, 2))],
)
def test_the_sheet_shows_exactly_the_crops(count, size, cell, grid):
    subject = make_subject(count, size)
    sheet = photo_sheet(subject.photos)
    assert sheet.size == (grid[0] * (cell + 4) + 4, grid[1] * (cell + 4) + 4)
    pixels = np.asarray(sheet)
    step = cell // size
    for index, photo in enumerate(subject.photos):
        top, left = (4 + (cell + 4) * (index // 6), 4 + (cell + 4) * (index % 6))
        tile = pixels[top : top + cell, left : left + cell]
        shown = photo.pixels.repeat(step, axis=0).repeat(step, axis=1)
        np.testing.assert_array_equal(tile, shown)
    assert (pixels[:4] == 255).all()
    assert (pixels[:, -4:] == 255).all()


def test_nothing_of_exif_reaches_the_sheet(folder):
    exif = Image.Exif()
    exif[0x010E] = "at home, Secret Street 1"
    exif.get_ifd(0x8825)[1] = "N"
    for index, kind in enumerate(("jpg", "png", "webp")):
        save(folder / f"a.{kind}", index, exif=exif, **({"comment": "x"} if kind == "jpg" else {}))
        assert b"Secret" in (folder / f"a.{kind}").read_bytes()
    buffer = io.BytesIO()
    photo_sheet(read_folder(folder, "dog", 64).photos).save(buffer, "PNG")
    assert b"Secret" not in buffer.getvalue()
    reread = Image.open(buffer)
    assert not reread.getexif()
    assert not reread.info


@pytest.mark.skipif(not DREAMBENCH, reason="RAREBOOTH_DREAMBENCH does not name DreamBench's folder")
def test_every_photo_of_dreambench_is_read():
    root = Path(DREAMBENCH)
    listing = (root / "prompts_and_classes.txt").read_text().split("Prompts")[0]
    nouns = dict(re.findall(r"^(\w+),([\w ]+)$", listing, re.MULTILINE))
    nouns.pop("subject_name")
    subjects = [read_folder(root / name, noun, 64) for name, noun in nouns.items()]
    assert len(subjects) == 30
    assert sum(len(subject.photos) for subject in subjects) == 158
    assert all(not subject.refused and not subject.skipped for subject in subjects)
    assert len({subject.digest for subject in subjects}) == 30
    assert subjects[0].noun == "backpack"
