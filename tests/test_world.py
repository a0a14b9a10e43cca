import random
import subprocess
import sys

import pytest
import torch

from rarebooth.prompts import QUALITIES
from rarebooth.world.body import Body
from rarebooth.world.colours import PALETTE
from rarebooth.world.contact_sheet import contact_sheet
from rarebooth.world.draw import FIRST_SUBJECT, TRAINING_INSTANCES, draw_scene
from rarebooth.world.places import PLACES, load_place
from rarebooth.world.render import render
from rarebooth.world.scene import Scene
from rarebooth.world.tensors import Vec
from rarebooth.world.toys import TOYS, load_toy
from rarebooth.world.traits import EMBLEMS, PATTERNS, traits

SIZE = 32


@pytest.fixture(scope="module")
def mixed():
    rng = random.Random(4)
    scenes = [draw_scene(rng) for _ in range(30)]
    scenes += [Scene("dog", 5, "beach", 1, quality) for quality in QUALITIES]
    return scenes, render(scenes, SIZE)


def _share(image, mask, colour):
    """The share of the toy's pixels whose nearest palette colour, in any light, is ``colour``."""
    pixels = image[mask].float() / 255.0
    names = list(PALETTE)
    palette = torch.tensor([PALETTE[name] for name in names])
    scale = (pixels[:, None] * palette).sum(-1) / palette.square().sum(-1)
    away = (pixels[:, None] - scale.clamp(0.5, 1.1)[..., None] * palette).square().sum(-1)
    return (away.argmin(1) == names.index(colour)).float().mean().item()


def test_pictures_have_the_promised_form(mixed):
    scenes, pictures = mixed
    assert pictures.images.shape == (len(scenes), SIZE, SIZE, 3)
    assert pictures.images.dtype == torch.uint8
    assert pictures.masks.shape == (len(scenes), SIZE, SIZE)
    assert pictures.masks.dtype == torch.bool


def test_a_picture_is_the_same_alone_and_in_any_batch(mixed):
    scenes, pictures = mixed
    for number in range(0, len(scenes), 4):
        alone = render([scenes[number]], SIZE)
        assert torch.equal(alone.images[0], pictures.images[number])
        assert torch.equal(alone.masks[0], pictures.masks[number])
    backwards = render(scenes[::-1], SIZE)
    assert torch.equal(backwards.images.flip(0), pictures.images)


def test_the_world_is_the_same_in_every_process():
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "from rarebooth.world.traits import traits; print(traits('vase', 1))",
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "123", "PYTHONPATH": ":".join(sys.path)},
    )
    assert found.stdout.strip() == repr(traits("vase", 1))


@pytest.mark.parametrize("toy", TOYS)
def test_every_toy_is_seen_whole_and_large(toy):
    scenes = [Scene(toy, 7 + n, PLACES[n * 4 % len(PLACES)], n) for n in range(6)]
    masks = render(scenes, SIZE).masks
    area = masks.float().mean((1, 2))
    assert (area > 0.06).all()
    assert (area < 0.5).all()
    border = torch.ones(SIZE, SIZE, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    assert (masks & border).sum((1, 2)).max() <= 2
    tall = masks.any(2).sum(1) / SIZE
    wide = masks.any(1).sum(1) / SIZE
    assert (torch.maximum(tall, wide) > 0.38).all()


@pytest.mark.parametrize("toy", TOYS)
def test_the_main_colour_rules_a_plain_toy(toy):
    plain = [n for n in range(200) if traits(toy, n).pattern == "none"]
    # In shade white, gray and black run into each other.
    told = [n for n in plain if traits(toy, n).main_colour not in {"white", "black"}][:8]
    pictures = render([Scene(toy, n, "studio", n) for n in told], SIZE)
    shares = [
        _share(image, mask, traits(toy, n).main_colour)
        for n, image, mask in zip(told, pictures.images, pictures.masks, strict=True)
    ]
    assert sum(shares) / len(shares) > 0.35


@pytest.mark.parametrize("colour", ["red", "purple"])
def test_a_colour_quality_paints_the_toy(colour):
    chosen = [Scene(toy, 2, "studio", 3, colour) for toy in TOYS]
    pictures = render(chosen, SIZE)
    shares = [
        _share(image, mask, colour)
        for image, mask in zip(pictures.images, pictures.masks, strict=True)
    ]
    assert sum(shares) / len(shares) > 0.35


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_quality_shows_on_the_toy(quality):
    plain, changed = render(
        [Scene("vase", 11, "studio", 2), Scene("vase", 11, "studio", 2, quality)], SIZE
    ).images.float()
    assert (plain - changed).abs().mean() > 1.0


@pytest.mark.parametrize("toy", TOYS)
def test_a_cube_fills_its_outline(toy):
    cubes = render([Scene(toy, n, "studio", n, "cube shaped") for n in range(4)], SIZE)
    for mask in cubes.masks:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        assert mask.sum() > 0.68 * box


@pytest.mark.parametrize("toy", ["cat", "clock", "teapot"])
def test_the_front_of_a_cube_is_a_picture_of_the_toy(toy):
    shape = load_toy(toy)
    sizes = {name: sum(span) / 2 for name, span in shape.sizes.items()}
    reach = Vec(*(torch.full((3,), side) for side in shape.extent(sizes)))
    known = {name: torch.full((3,), size) for name, size in sizes.items()}
    half = torch.ones(3)
    # The middle of the front, and its two upper corners.
    on_face = Vec(torch.tensor([0.0, -0.97, 0.97]), torch.tensor([1.0, 1.97, 1.97]), torch.ones(3))
    front = Vec(torch.zeros(3), torch.zeros(3), torch.ones(3))
    _, part, ground = Body(shape, known, half, reach).painted(on_face, front)
    assert ground.tolist() == [False, True, True]
    assert 0 <= part[0] < len(shape.parts)


def test_an_individual_keeps_its_traits_and_others_differ():
    for toy in TOYS:
        assert traits(toy, 3) == traits(toy, 3)
        found = [traits(toy, number) for number in range(200)]
        assert len(set(found)) == 200
        assert {t.pattern for t in found} == set(PATTERNS)
        assert {t.emblem for t in found} == set(EMBLEMS)
        assert len({t.main_colour for t in found}) == len(PALETTE) - 1
        for t in found:
            assert t.colours[0] == t.main_colour
            under = t.colours[load_toy(toy).emblem_part]
            assert t.emblem_colour != under
            assert t.pattern_colour != t.main_colour


def test_shots_of_one_scene_differ():
    images = render([Scene("dog", 1, "mountain", shot) for shot in range(4)], SIZE).images
    assert len({bytes(image.numpy().tobytes()) for image in images}) == 4


def test_places_look_unlike_each_other():
    pictures = render([Scene("can", 1, place, 1) for place in PLACES], SIZE)
    around = [
        torch.cat([image[:14].float().mean((0, 1)), image[-8:].float().mean((0, 1))])
        for image in pictures.images
    ]
    for first in range(len(PLACES)):
        for second in range(first):
            assert (around[first] - around[second]).abs().max() > 6.0


def test_every_place_says_where_it_is():
    for place in PLACES:
        phrases = load_place(place).phrases
        assert phrases
        assert (phrases == ("",)) == (place == "studio")
    assert load_place("sunflowers").phrases[0] == "on top of green grass with sunflowers around it"


def test_training_never_draws_subjects_or_what_is_held_out():
    rng = random.Random(1)
    kept_out = {("dog", n) for n in range(TRAINING_INSTANCES) if n != 77}
    scenes = [draw_scene(rng, toys=("dog", "cat"), held_out=kept_out) for _ in range(8)]
    assert all(s.instance == 77 for s in scenes if s.toy == "dog")
    many = [draw_scene(rng) for _ in range(4000)]
    assert max(s.instance for s in many) < TRAINING_INSTANCES < FIRST_SUBJECT
    assert {s.toy for s in many} == set(TOYS)
    assert {s.place for s in many} == set(PLACES)
    assert 0.18 < sum(s.place == "studio" for s in many) / len(many) < 0.28
    assert 0.15 < sum(s.quality is not None for s in many) / len(many) < 0.22


def test_wrong_requests_are_refused():
    with pytest.raises(ValueError, match="even"):
        render([Scene("dog", 1, "snow", 1)], 33)
    with pytest.raises(ValueError, match="quality"):
        render([Scene("dog", 1, "snow", 1, "furry")], SIZE)
    with pytest.raises(KeyError, match="no toy"):
        render([Scene("unicorn", 1, "snow", 1)], SIZE)
    with pytest.raises(KeyError, match="no place"):
        render([Scene("dog", 1, "moon", 1)], SIZE)
    assert render([], SIZE).images.shape == (0, SIZE, SIZE, 3)


def test_a_contact_sheet_tiles_row_by_row():
    scenes = [Scene("can", n, "studio", n) for n in range(3)]
    sheet = contact_sheet(scenes, 2, SIZE)
    assert sheet.size == (2 * SIZE, 2 * SIZE)
    assert sheet.getpixel((SIZE + 5, SIZE + 5)) == (255, 255, 255)
