"""The palette measure tells a subject from other individuals, and knows its own limits."""

import numpy as np
import pytest

from rarebooth.metrics.asked import Asked
from rarebooth.metrics.palette import Truth, truth
from rarebooth.world.render import render
from rarebooth.world.scene import Scene
from rarebooth.world.subjects import Individual, example


@pytest.fixture(scope="module")
def backpack() -> Individual:
    return example("backpack")


@pytest.fixture(scope="module")
def in_the_snow(backpack: Individual) -> Truth:
    return truth(backpack, Asked("snow"), 32)


def test_the_subject_itself_scores_near_the_ceiling(backpack: Individual, in_the_snow: Truth):
    shots = [Scene(backpack.toy, backpack.instance, "snow", shot) for shot in range(8)]
    overlaps = [in_the_snow.overlap(picture) for picture in render(shots, size=32).images.numpy()]
    assert 0.8 < in_the_snow.placed(float(np.mean(overlaps))) < 1.2


def test_other_individuals_score_near_the_floor(backpack: Individual, in_the_snow: Truth):
    others = [Scene(backpack.toy, 4_000_000 + index, "snow", index) for index in range(16)]
    overlaps = [in_the_snow.overlap(picture) for picture in render(others, size=32).images.numpy()]
    assert -0.25 < in_the_snow.placed(float(np.mean(overlaps))) < 0.25


def test_pixels_that_never_show_the_toy_do_not_count(in_the_snow: Truth):
    picture = np.zeros((32, 32, 3), np.uint8)
    changed = picture.copy()
    changed[~in_the_snow.toy] = 255
    assert in_the_snow.overlap(changed) == in_the_snow.overlap(picture)


def test_histograms_by_hand():
    toy = np.array([[True, True], [True, False]])
    histogram = np.zeros(64)
    histogram[0], histogram[63] = 0.25, 0.75
    known = Truth(histogram, toy, ceiling=0.9, floor=0.4)
    # Black twice, white once, and anything where the toy does not stand.
    picture = np.array([[[0, 0, 0], [0, 0, 0]], [[255, 255, 255], [9, 99, 199]]], np.uint8)
    assert known.overlap(picture) == pytest.approx(0.25 + 1 / 3)
    # A third of the way from black (level 0) to the next blue (level 1): two thirds stay black.
    picture[0, 0, 2] = picture[0, 1, 2] = picture[1, 0, 2] = round(255 / 9)
    picture[1, 0, :2] = 0
    histogram[0], histogram[63] = 1, 0
    assert known.overlap(picture) == pytest.approx(2 / 3, abs=0.01)
    assert known.placed(0.65) == pytest.approx(0.5)
