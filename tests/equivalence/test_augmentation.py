"""What Custom Diffusion's augmentation promises, over many random numbers."""

import numpy as np
import pytest
import torch
from PIL import Image

from rarebooth.augmentation import GREY, LARGE, SMALL, augmented

BICUBIC = Image.Resampling.BICUBIC


def random_photo(size):
    """Never grey, so that a photo can be told from what it stands on."""
    return np.random.default_rng(0).integers(200, 256, (size, size, 3), dtype=np.uint8)


def variants(size, side, count=600):
    photo = random_photo(size)
    return [augmented(photo, side, torch.Generator().manual_seed(seed)) for seed in range(count)]


def box(image):
    """Top, left and side of what is not grey, which must be a square."""
    (top, *_, bottom), (left, *_, right) = (
        np.flatnonzero((image != GREY).any(axis=(2, axis))).tolist() for axis in (1, 0)
    )
    assert bottom - top == right - left
    return top, left, bottom - top + 1


def kinds(found):
    small, large = ([each for each in found if each.words in words] for words in (SMALL, LARGE))
    plain = [each for each in found if each.words == ""]
    assert len(small) + len(large) + len(plain) == len(found)
    return small, large, plain


@pytest.fixture(scope="module")
def found():
    return variants(96, 12)


def test_kinds_and_words_come_as_often_as_they_should(found):
    small, large, plain = kinds(found)
    assert len(large) / len(found) == pytest.approx(1 / 3, abs=0.06)
    # of the scales from 1/3 to 1, those up to 0.6 make a photo small
    assert len(small) / len(found) == pytest.approx(2 / 3 * 0.4, abs=0.06)
    assert len(plain) / len(found) == pytest.approx(2 / 3 * 0.6, abs=0.06)
    for each, words in ((small, SMALL), (large, LARGE)):
        shares = [sum(variant.words == word for variant in each) / len(each) for word in words]
        assert shares == pytest.approx([0.5, 0.5], abs=0.12)


def test_small_photos_stand_whole_on_grey_and_anywhere(found):
    small, _, _ = kinds(found)
    photo = Image.fromarray(random_photo(96))
    tops, sides = [], []
    for variant in small:
        top, left, extent = box(variant.image)
        sides.append(extent)
        tops.append(top / (96 - extent))
        whole = photo.resize((extent, extent), BICUBIC)
        pasted = variant.image[top : top + extent, left : left + extent]
        assert np.array_equal(pasted, np.asarray(whole))
        assert (variant.image == GREY).sum() == 3 * (96 * 96 - extent * extent)
    assert min(sides) == 32
    assert 0.57 * 96 < max(sides) < 0.6 * 96
    assert min(tops) < 0.05
    assert max(tops) > 0.95


def test_large_photos_are_parts_of_the_enlarged_one(found):
    _, large, plain = kinds(found)
    photo = Image.fromarray(random_photo(96))
    assert all(np.array_equal(variant.image, random_photo(96)) for variant in plain)
    assert all(bool((variant.mask == 1).all()) for variant in (*large, *plain))
    enlarged = {
        side: np.asarray(photo.resize((side, side), BICUBIC))
        for side in range(round(1.2 * 96), round(1.4 * 96) + 1)
    }
    seen = set()
    for variant in large[:25]:
        places = [
            (side, top, left)
            for side, whole in enlarged.items()
            for top, left in np.argwhere((whole == variant.image[0, 0]).all(axis=2))
            if np.array_equal(whole[top : top + 96, left : left + 96], variant.image)
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 20
    assert len({side for side, _, _ in seen}) > 8


@pytest.mark.parametrize(("size", "side"), [(32, 8), (64, 8), (96, 12), (64, 16), (128, 16)])
def test_a_mask_lies_within_the_photo_with_a_rim_of_one_cell(size, side):
    cell = size // side
    small, _, _ = kinds(variants(size, side, 300))
    for variant in small:
        top, left, extent = box(variant.image)
        # its code: neither the cell that holds the first edge counts, nor the last whole one
        rows, columns = (slice(at // cell + 1, (at + extent) // cell - 1) for at in (top, left))
        inside = torch.zeros(side, side)
        inside[rows, columns] = 1
        assert torch.equal(variant.mask, inside)
        pixels = variant.mask.repeat_interleave(cell, 0).repeat_interleave(cell, 1).bool().numpy()
        assert (variant.image[pixels] != GREY).all()


@pytest.mark.parametrize(("size", "side"), [(16, 4), (32, 8), (64, 8), (96, 12), (64, 16)])
def test_a_mask_is_never_empty(size, side):
    """The loss is divided by it."""
    assert min(int(variant.mask.sum()) for variant in variants(size, side)) > 0
