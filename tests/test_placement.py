"""Prompts become scenes, and scores get a floor and a ceiling from true renders."""

import numpy as np
import pytest

from rarebooth import prompts
from rarebooth.errors import RareboothError, SettingsError
from rarebooth.metrics.asked import Asked, asked
from rarebooth.metrics.placement import OTHERS_FROM, place, stranger_renders, true_renders
from rarebooth.prompts import QUALITIES
from rarebooth.world.outfits import OUTFITS
from rarebooth.world.places import PLACES
from rarebooth.world.subjects import Individual, find

SIZE = 16


def test_every_prompt_of_dreambench_is_a_scene_of_its_own():
    things, live = ({asked(t) for t in prompts.dreambench(live=x)} for x in (False, True))
    assert len(things) == len(live) == 25
    assert {s.place for s in things} == set(PLACES)
    assert {s.outfit for s in things} == {None}
    assert {s.outfit for s in live} == {None, *OUTFITS}
    assert {s.quality for s in things} == {s.quality for s in live} == {None, *QUALITIES}
    for scene in things | live:
        fields = (scene.place != "studio", scene.quality is not None, scene.outfit is not None)
        assert sum(fields) == 1


@pytest.mark.parametrize(
    ("template", "scene"),
    [
        (prompts.PLAIN, Asked()),
        ("a {}", Asked()),
        ("a photo of {} in the snow", Asked("snow")),
        ("a purple {}", Asked(quality="purple")),
        ("a {} on top of a purple rug in a forest", Asked("purple_rug")),
        ("a {} wearing a red hat", Asked(outfit="red_hat")),
        ("a wet {} on the beach", Asked("beach", quality="wet")),
        ("a cube shaped {}", Asked(quality="cube shaped")),
    ],
)
def test_a_prompt_says_place_quality_or_outfit(template, scene):
    assert asked(template) == scene


def test_what_the_world_cannot_show_is_refused():
    with pytest.raises(SettingsError, match=r"no scene 'on the moon'.*rarebooth\.prompts"):
        asked("a {} on the moon")
    with pytest.raises(SettingsError, match=r"has no \{\}"):
        asked("a dog in the snow")


def test_true_renders_show_the_individual_as_it_was_asked_for():
    dog = find("dog")
    plain = true_renders(dog, Asked(), SIZE, count=3)
    assert plain.images.shape == (3, SIZE, SIZE, 3)
    assert plain.images.dtype == np.uint8
    assert plain.masks.shape == (3, SIZE, SIZE)
    assert plain.masks.any(axis=(1, 2)).all()
    later = true_renders(dog, Asked(), SIZE, count=2, first=5_000_001)
    assert np.array_equal(later.images, plain.images[1:])
    for scene in (Asked("snow"), Asked(quality="red"), Asked(outfit="chef")):
        changed = true_renders(dog, scene, SIZE, count=3)
        assert not np.array_equal(changed.images, plain.images)


def test_strangers_are_others_of_the_class_and_each_is_another():
    dog = find("dog")
    strangers = stranger_renders(dog, Asked(), SIZE, count=3)
    for index in range(3):
        itself = Individual("dog", OTHERS_FROM + index)
        alone = true_renders(itself, Asked(), SIZE, count=1, first=5_000_000 + index)
        assert np.array_equal(alone.images[0], strangers.images[index])


def test_a_stranger_is_never_the_individual_itself():
    number = OTHERS_FROM + 1
    shown = stranger_renders(Individual("dog", number), Asked(), SIZE, count=3)
    own = true_renders(Individual("dog", number), Asked(), SIZE, count=3)
    assert len(shown.images) == 3
    assert not any(np.array_equal(a, b) for a, b in zip(shown.images, own.images, strict=True))


def test_scores_are_placed_between_floor_and_ceiling():
    assert place(0.65, floor=0.4, ceiling=0.9) == pytest.approx(0.5)
    assert place(0.3, floor=0.4, ceiling=0.9) == pytest.approx(-0.2)
    # A distance is better where it is smaller.
    assert place(0.3, floor=0.6, ceiling=0.2) == pytest.approx(0.75)
    with pytest.raises(RareboothError, match=r"score 0\.5, as much as the subject itself"):
        place(0.6, floor=0.5, ceiling=0.5)
