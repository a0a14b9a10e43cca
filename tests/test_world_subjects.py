"""The named subjects: DreamBench's in miniature, and those for tuning."""

import os
import re
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from rarebooth.photos import world_mark
from rarebooth.world.colours import PALETTE
from rarebooth.world.distinct import differing, visible
from rarebooth.world.places import PLACES
from rarebooth.world.subjects import (
    BENCHMARK,
    SUBJECT_PLACES,
    VALIDATION,
    VALIDATION_FROM,
    find,
    write_photos,
)
from rarebooth.world.toys import TOYS
from rarebooth.world.traits import alike, traits

DREAMBENCH = os.environ.get("RAREBOOTH_DREAMBENCH", "")
ALL = (*BENCHMARK, *VALIDATION)


def words(subject):
    return visible(subject.toy, traits(subject.toy, subject.instance))


@pytest.mark.skipif(not DREAMBENCH, reason="RAREBOOTH_DREAMBENCH does not name DreamBench's folder")
def test_there_is_one_subject_for_each_of_dreambench():
    root = Path(DREAMBENCH)
    listing = (root / "prompts_and_classes.txt").read_text().split("Prompts")[0]
    nouns = dict(re.findall(r"^(\w+),([\w ]+)$", listing, re.MULTILINE))
    nouns.pop("subject_name")
    assert {s.name: s.toy for s in BENCHMARK} == nouns
    assert {s.name: s.photos for s in BENCHMARK} == {
        name: len([*(root / name).glob("*.jpg")]) for name in nouns
    }


def test_names_and_seeds_are_used_once_and_apart_from_each_other():
    assert len(BENCHMARK) == 30
    assert {s.toy for s in BENCHMARK} == set(TOYS)
    assert len({s.name for s in ALL}) == len({(s.toy, s.instance) for s in ALL}) == 40
    assert all(1_100_000 <= s.instance < VALIDATION_FROM for s in BENCHMARK)
    assert all(VALIDATION_FROM <= s.instance < 3_000_000 for s in VALIDATION)
    assert len({s.toy for s in VALIDATION}) == 10
    assert {"dog", "cat", "stuffed animal", "toy"} <= {s.toy for s in VALIDATION}


def test_live_subjects_are_the_cats_and_dogs():
    assert {s.name for s in BENCHMARK if s.live} == {
        *("cat", "cat2", "dog", "dog2", "dog3", "dog5", "dog6", "dog7", "dog8")
    }


@pytest.mark.parametrize("subject", ALL, ids=lambda s: s.name)
def test_a_subject_shows_what_makes_it_itself(subject):
    known, shown = traits(subject.toy, subject.instance), words(subject)
    assert not alike(known.main_colour, known.second_colour)
    assert (shown["pattern"], shown["emblem"]) != ("none", "none")
    named = subject.name.split("_")[0]
    if named in PALETTE:
        assert shown["main colour"] == named
    for other in ALL:
        if other.toy == subject.toy and other != subject:
            names = differing(shown, words(other))
            assert "main colour" in names
            assert len(names) >= 5


def test_photo_places_are_fixed_and_vary_from_subject_to_subject():
    assert set(SUBJECT_PLACES) <= set(PLACES)
    assert len(SUBJECT_PLACES) == 6
    for subject in ALL:
        places = subject.photo_places
        assert len(set(places)) == len(places) == subject.photos
        assert set(places) <= set(SUBJECT_PLACES)
    assert len({s.photo_places for s in ALL}) > 30
    assert find("duck_toy").photo_places == (
        "pink_fabric",
        "blue_house",
        "wheat_field",
        "studio",
    )


def test_photos_are_written_as_a_subject_folder(tmp_path):
    subject = find("duck_toy")
    write_photos(subject, tmp_path, 16)
    files = sorted(tmp_path.glob("*.png"))
    assert [file.name for file in files] == ["01.png", "02.png", "03.png", "04.png"]
    assert all(world_mark(file) and Image.open(file).size == (16, 16) for file in files)
    about = tomllib.loads((tmp_path / "subject.toml").read_text("utf-8"))
    assert about == {"noun": "toy", "instance": subject.instance}


def test_subjects_are_found_by_name():
    assert [find(s.name) for s in ALL] == [*ALL]
    with pytest.raises(KeyError, match="no subject 'unicorn'; there are: backpack, "):
        find("unicorn")
