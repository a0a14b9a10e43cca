"""Class images: drawn once from the frozen base, found again, and never those of something else."""

import io
import os
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rarebooth import class_images, sample, subject
from rarebooth.base import Session
from rarebooth.class_images import Cached, Drawing, Drawn, Folder, cache_folder
from rarebooth.errors import (
    BaseModelError,
    DivergedError,
    PhotosError,
    ResourceError,
    SettingsError,
)
from rarebooth.run import Run
from toy_base import ToyBase

PROMPT = "a photo of dog"
QUICK = Drawing(seed=3, steps=2)


class Counting:
    """Counts the pictures that a base draws, and kills the drawing at the ``at``-th call."""

    def __init__(self, monkeypatch, base, at=None):
        self.calls, self.at, self.whole = 0, at, base.denoise
        monkeypatch.setattr(base, "denoise", self)

    def __call__(self, *given):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return self.whole(*given)


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def base():
    return ToyBase()


@pytest.fixture
def cached(tmp_path):
    return Cached(folder=tmp_path / "cache", drawing=QUICK)


def ask(source, base, count, prompt=PROMPT):
    with Session(base) as session:
        return source(session, prompt, count)


def files(source):
    return sorted(path for path in source.folder.rglob("*") if path.is_file())


def apart(one, other):
    """The largest difference in grey levels; drawing in other batches may round otherwise."""
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def test_all_ways_of_drawing_give_the_pictures_of_the_base(tiny_base, cached):
    base = tiny_base()
    with Session(base) as session:
        seeds = [3, 4, 5]
        expected = sample.draw(session, [PROMPT] * 3, seeds, steps=2)
    drawn = ask(Drawn(drawing=QUICK), base, 3)
    assert drawn.dtype == np.uint8
    assert drawn.shape == (3, base.size, base.size, 3)
    assert (drawn == expected).all()
    assert apart(drawn[0], drawn[1]) > 3
    assert (ask(cached, base, 3) == expected).all()
    assert (ask(cached, base, 3) == expected).all()


def test_a_run_draws_them_unless_it_is_told_otherwise(base):
    with Session(base) as session:
        pictures = Run(seed=0).class_images(session, PROMPT, 2)
        assert (pictures == sample.draw(session, [PROMPT] * 2, [0, 1])).all()


def test_what_is_kept_is_not_drawn_again(base, cached, monkeypatch):
    first = ask(cached, base, 5)
    before = {path: path.stat().st_mtime_ns for path in files(cached)}
    assert [path.name for path in before] == [f"{number:05d}.png" for number in range(5)]
    counted = Counting(monkeypatch, base)
    assert (ask(cached, base, 5) == first).all()
    assert (ask(cached, base, 2) == first[:2]).all()
    assert counted.calls == 0
    assert {path: path.stat().st_mtime_ns for path in files(cached)} == before


def test_more_are_drawn_beside_those_that_are_kept(base, cached):
    few = ask(cached, base, 3)
    before = {path: path.read_bytes() for path in files(cached)}
    many = ask(cached, base, 11)
    assert (many[:3] == few).all()
    assert len(files(cached)) == 11
    assert all(path.read_bytes() == content for path, content in before.items())
    assert apart(many, ask(Drawn(drawing=QUICK), base, 11)) <= 1


@pytest.mark.parametrize("end", [KeyboardInterrupt, DivergedError])
def test_an_interrupted_drawing_continues(base, cached, monkeypatch, end):
    monkeypatch.setattr(sample, "SMALL_BATCH", 2)
    with monkeypatch.context() as patched:
        counted = Counting(patched, base, at=6)
        if end is DivergedError:
            counted.at, whole = None, counted.whole
            counted.whole = lambda *given: whole(*given) * (torch.nan if counted.calls > 4 else 1)
        with pytest.raises(end):
            ask(cached, base, 7)
    assert [path.name for path in files(cached)] == [f"{number:05d}.png" for number in range(4)]
    counted = Counting(monkeypatch, base)
    pictures = ask(cached, base, 7)
    assert counted.calls == 2 * 2  # steps, by batches of two and of one
    assert apart(pictures, ask(Drawn(drawing=QUICK), base, 7)) <= 1


def chunk_of(path, **changed):
    """The text of a kept picture, with some of it changed."""
    chunk = PngInfo()
    with Image.open(path) as picture:
        for key, value in picture.info.items():
            name = str(key).removeprefix("rarebooth:")
            chunk.add_itxt(str(key), changed.get(name, str(value)))
    return chunk


def flipped(path):
    """One byte of the pixels' stream is another one."""
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 20] ^= 1
    path.write_bytes(data)


def resized(path):
    Image.new("RGB", (4, 4)).save(path, pnginfo=chunk_of(path))


def grey(path):
    Image.new("L", (8, 8)).save(path, pnginfo=chunk_of(path))


def textless(path):
    Image.new("RGB", (8, 8)).save(path)


def as_jpeg(path):
    Image.new("RGB", (8, 8)).save(path, format="JPEG")


def retold(**changed):
    return lambda path: Image.new("RGB", (8, 8)).save(path, pnginfo=chunk_of(path, **changed))


@pytest.mark.parametrize(
    "damage",
    {
        "half written": lambda path: os.truncate(path, path.stat().st_size // 2),
        "without its end": lambda path: os.truncate(path, path.stat().st_size - 6),
        "empty": lambda path: os.truncate(path, 0),
        "gone": Path.unlink,
        "flipped": flipped,
        "resized": resized,
        "grey": grey,
        "without text": textless,
        "JPEG": as_jpeg,
        "another prompt": retold(prompt="a photo of cat"),
        "another seed": retold(seed="3"),
        "another base": retold(base="0" * 64),
    }.values(),
)
def test_a_file_that_is_not_what_it_should_be_is_drawn_again(base, cached, monkeypatch, damage):
    first = ask(cached, base, 3)
    before = {path: path.read_bytes() for path in files(cached)}
    damaged = files(cached)[1]
    damage(damaged)
    counted = Counting(monkeypatch, base)
    assert apart(ask(cached, base, 3), first) <= 1
    assert counted.calls == 2
    assert files(cached) == list(before)
    with Image.open(damaged) as picture:
        assert apart(np.asarray(picture), first[1]) <= 1


def test_whatever_makes_another_picture_has_another_folder(tmp_path):
    def place(name="toy", size=8, prompt=PROMPT, **drawing):
        base = ToyBase(name=name)
        base.size = size
        options: dict[str, Any] = {"seed": 3, "steps": 2, **drawing}
        source = Cached(folder=tmp_path, drawing=Drawing(**options))
        return source.place(Session(base), prompt)

    assert place() == place()
    assert place(guidance=7) == place(guidance=7.0)
    places = [
        place(),
        place(name="other"),
        place(size=16),
        place(prompt="a photo of a dog"),
        place(prompt="A photo of dog"),
        place(seed=4),
        place(steps=3),
        place(sampler="dpm++"),
        place(guidance=2.0),
    ]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        (PROMPT, "a-photo-of-dog"),
        ("../{}/..\\C:", "c"),
        ("фото собаки", "фото-собаки"),
        ("🐕", "class"),
        ("dog " * 100, "dog-dog-dog-dog-dog-dog-dog-dog-dog-dog"),
    ],
)
def test_a_folder_is_called_after_its_prompt_and_lies_in_the_cache(cached, base, prompt, slug):
    place = cached.place(Session(base), prompt)
    assert place.parent == cached.folder
    assert re.fullmatch(f"{slug}-[0-9a-f]{{16}}", place.name)


def test_other_prompts_and_bases_do_not_touch_what_is_kept(cached):
    one = ask(cached, ToyBase(), 2)
    before = {path: path.read_bytes() for path in files(cached)}
    other = ask(cached, ToyBase(), 2, "a photo of cat")
    ask(cached, ToyBase(name="other"), 2)
    assert apart(one, other) > 3
    assert len(files(cached)) == 6
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_picture_says_all_that_determines_it(base, cached):
    ask(cached, base, 2, "a photo of 犬")
    with Image.open(files(cached)[1]) as picture:
        assert picture.format == "PNG"
        text = {str(key): value for key, value in picture.info.items()}
    assert text == {
        "rarebooth:base": base.identity.digest,
        "rarebooth:size": "8",
        "rarebooth:prompt": "a photo of 犬",
        "rarebooth:seed": "4",
        "rarebooth:sampler": "ddim",
        "rarebooth:steps": "2",
        "rarebooth:guidance": "7.5",
    }


def test_added_words_do_not_matter_and_a_tuned_base_is_refused(base, cached):
    expected = ask(Drawn(drawing=QUICK), base, 2)
    with Session(base) as session:
        vector = session.token("dog", "cat")
        with torch.no_grad():
            vector.add_(5)
        assert (cached(session, PROMPT, 2) == expected).all()
        assert list(session.tokens) == ["dog"]
        session.tune("denoiser")
        for source in (Drawn(drawing=QUICK), cached):
            with pytest.raises(BaseModelError, match=r"denoiser is being tuned.*before any"):
                source(session, PROMPT, 2)


def test_two_that_draw_the_same_at_once_do_no_harm(base, cached, monkeypatch):
    """The second starts and ends while the first draws its second batch."""
    monkeypatch.setattr(sample, "SMALL_BATCH", 2)
    other = ToyBase()

    def second(done, total):
        if done == 2:
            assert apart(ask(cached, other, 6), expected) <= 1

    expected = ask(Drawn(drawing=QUICK), base, 6)
    first = Cached(folder=cached.folder, drawing=QUICK, progress=second)
    assert apart(ask(first, base, 6), expected) <= 1
    assert [path.name for path in files(cached)] == [f"{number:05d}.png" for number in range(6)]
    counted = Counting(monkeypatch, base)
    assert apart(ask(cached, base, 6), expected) <= 1
    assert counted.calls == 0


def test_progress_is_told_after_each_batch(base, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "SMALL_BATCH", 2)
    told = []

    def progress(done, total):
        told.append((done, total, len(list(tmp_path.rglob("*.png")))))

    ask(Drawn(drawing=QUICK, progress=progress), base, 5)
    assert told == [(2, 5, 0), (4, 5, 0), (5, 5, 0)]
    told.clear()
    source = Cached(folder=tmp_path, drawing=QUICK, progress=progress)
    ask(source, base, 3)
    assert told == [(2, 3, 2), (3, 3, 3)]
    ask(source, base, 3)
    ask(source, base, 6)
    assert told[2:] == [(5, 6, 5), (6, 6, 6)]


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_are_refused(base, cached, tmp_path, count):
    save(tmp_path / "1.png")
    for source in (Drawn(drawing=QUICK), cached, Folder(folder=tmp_path)):
        with pytest.raises(SettingsError, match=f"^{count} class images were asked for"):
            ask(source, base, count)
    assert not cached.folder.exists()


def test_a_cache_that_cannot_be_written_is_told_before_anything_is_drawn(base, cached, monkeypatch):
    cached.folder.write_text("a file")
    counted = Counting(monkeypatch, base)
    with pytest.raises(ResourceError, match=r"cannot be kept in .*RAREBOOTH_CACHE") as caught:
        ask(cached, base, 2)
    assert (caught.value.exit_code, counted.calls) == (4, 0)


@pytest.mark.skipif(os.name == "nt", reason="permissions are others there")
def test_a_cache_that_can_only_be_read_serves_what_it_has(base, cached, monkeypatch):
    first = ask(cached, base, 2)
    home = files(cached)[0].parent
    home.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert (ask(cached, base, 2) == first).all()
        if not os.access(home, os.W_OK):  # root may write everywhere
            counted = Counting(monkeypatch, base)
            with pytest.raises(ResourceError, match=r"Permission denied.*RAREBOOTH_CACHE"):
                ask(cached, base, 3)
            assert counted.calls == 0
    finally:
        home.chmod(stat.S_IRWXU)


def test_a_disk_that_fills_up_is_told_with_the_way_out(base, cached, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    ask(cached, base, 1)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(
        ResourceError,
        match=r"No space left on device, [\d,]+ bytes are free\. Make room.*RAREBOOTH_CACHE",
    ):
        ask(cached, base, 3)
    assert [path.name for path in files(cached)] == ["00000.png"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"RAREBOOTH_CACHE": "/there", "XDG_CACHE_HOME": "/caches"}, "/there"),
        ({"RAREBOOTH_CACHE": "", "XDG_CACHE_HOME": "/caches"}, "/caches/rarebooth/class-images"),
        ({"XDG_CACHE_HOME": "relative"}, "~/.cache/rarebooth/class-images"),
        ({}, "~/.cache/rarebooth/class-images"),
        ({"RAREBOOTH_CACHE": "~/mine"}, "~/mine"),
    ],
)
def test_where_class_images_are_kept(tmp_path, monkeypatch, environment, expected):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert cache_folder(environment) == Path(expected).expanduser()


def save(path, shade=0, extent=(80, 80), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", extent, (shade, 0, 0)).save(path, **options)


def shades(pictures):
    return pictures[:, 4, 4, 0].tolist()


def encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Five pictures, named so that plain sorting would mix them, and what people leave beside."""
    home = tmp_path / "class"
    for number, shade in ((1, 10), (2, 60), (10, 110), (20, 160)):
        save(home / f"dog {number}.png", shade)
    save(home / "no-suffix", 210, format="PNG")
    (home / "dog 3.jpg").write_bytes(encoded(Image.new("RGB", (80, 80)))[:200])
    save(home / "dog 4.png", extent=(30, 30))
    save(home / ".hidden.png", 1)
    (home / "dog 1.txt").write_text("a dog")
    save(home / "more.png" / "1.png", 2)
    return home


def test_a_folder_gives_its_pictures_in_natural_order_and_names_what_it_leaves_out(base, folder):
    told, progress = [], []
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    source = Folder(
        folder=folder, notice=told.append, progress=lambda done, total: progress.append(done)
    )
    pictures = ask(source, base, 5)
    assert pictures.shape == (5, 8, 8, 3)
    assert shades(pictures) == [10, 60, 110, 160, 210]
    assert progress == [1, 2, 3, 4, 5]
    assert len(told) == 2
    assert re.fullmatch(r".*'dog 3\.jpg' is left out: this JPEG file is damaged.*", told[0])
    assert re.fullmatch(r".*'dog 4\.png' is left out: this is 30 x 30 pixels.*", told[1])
    assert {path: path.read_bytes() for path in before} == before


def test_the_first_of_a_folder_are_taken_and_the_rest_is_not_read(base, folder):
    told = []
    assert shades(ask(Folder(folder=folder, notice=told.append), base, 2)) == [10, 60]
    assert told == []


def test_a_folder_with_too_few_gives_what_it_has_and_says_so(base, folder):
    told = []
    pictures = ask(Folder(folder=folder, notice=told.append), base, 200)
    assert shades(pictures) == [10, 60, 110, 160, 210]
    assert re.search(rf"5 class images for '{PROMPT}' and 200 were asked for", told[-1])


def test_a_class_image_is_turned_and_cropped_as_a_photo_is(base, tmp_path):
    stored = Image.new("RGB", (160, 80), (250, 0, 0))
    stored.paste((0, 0, 250), (0, 0, 80, 80))
    sideways = Image.Exif()
    sideways[0x0112] = 6  # to be turned by a quarter, clockwise
    tmp_path.joinpath("1.jpg").write_bytes(encoded(stored, exif=sideways))
    (picture,) = ask(Folder(folder=tmp_path), base, 1)
    assert picture[1, 4, 2] > 200, "the stored left is above"
    assert picture[6, 4, 0] > 200
    assert picture[1, 1, 2] > 200, "and the middle square of it is kept"


def test_a_folder_without_a_usable_picture_is_refused(base, tmp_path):
    with pytest.raises(PhotosError, match=r"no class images.*No such file.*name a folder"):
        ask(Folder(folder=tmp_path / "absent"), base, 1)
    (tmp_path / "1.png").write_bytes(b"nothing")
    told = []
    with pytest.raises(PhotosError, match=rf"no picture.*for '{PROMPT}' \(1 left out\)") as caught:
        ask(Folder(folder=tmp_path, notice=told.append), base, 1)
    assert caught.value.exit_code == 3
    assert len(told) == 1
    with pytest.raises(PhotosError, match="no class images"):
        ask(Folder(folder=tmp_path / "1.png"), base, 1)


def test_a_class_photo_that_cannot_be_used_counts_by_its_name(folder, monkeypatch):
    before = class_images.folder_digest(folder)
    (folder / "large.jpg").write_bytes(bytes(100))
    (folder / "shut.jpg").write_bytes(bytes(1))
    monkeypatch.setattr(subject, "LARGEST_BYTES", 90)
    whole = Path.open

    def opened(path, *given, **options):
        if path.name == "shut.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *given, **options)

    monkeypatch.setattr(Path, "open", opened)
    found = class_images.folder_digest(folder)
    assert found != before
    (folder / "large.jpg").write_bytes(bytes(200))
    assert class_images.folder_digest(folder) == found


def test_a_folder_of_class_photos_that_cannot_be_read_is_refused(folder, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(PhotosError, match="Permission denied"):
        class_images.folder_digest(folder)
