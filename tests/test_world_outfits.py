import random
from collections import Counter

import pytest
import torch

from rarebooth.prompts import LIVE_SCENES
from rarebooth.world.captions import LONGEST, caption, split, vocabulary
from rarebooth.world.colours import PALETTE
from rarebooth.world.draw import draw_scene
from rarebooth.world.outfits import OUTFITS, dressed, load_outfit
from rarebooth.world.places import PLACES, load_place
from rarebooth.world.render import render
from rarebooth.world.scene import Scene
from rarebooth.world.tensors import Vec
from rarebooth.world.toys import TOYS, load_toy
from rarebooth.world.traits import traits

SIZE = 48
WEARERS = ("dog", "cat")
HATS = ("red_hat", "santa_hat", "top_hat_and_monocle", "chef", "firefighter", "police", "wizard")
COLOURS = {
    "red_hat": "red",
    "santa_hat": "red",
    "top_hat_and_monocle": "black",
    "chef": "white",
    "firefighter": "red",
    "police": "blue",
    "pink_glasses": "pink",
    "yellow_shirt": "yellow",
    "wizard": "purple",
}
COVERING = ("chef", "firefighter", "police", "yellow_shirt", "wizard")


def _plain(toy: str, *unlike: str) -> list[int]:
    """Instances without a pattern and without colours that could pass for those of an outfit."""
    avoid = {"black", "brown", "blue", "purple", "turquoise", *unlike}
    found = (n for n in range(4000) if not {*traits(toy, n).colours[:3]} & avoid)
    return [n for n in found if traits(toy, n).pattern == "none"][:4]


def _coloured(image: torch.Tensor, colour: str) -> torch.Tensor:
    """Pixels whose nearest palette colour, in any light, is ``colour``."""
    pixels = image.float() / 255.0
    names = list(PALETTE)
    palette = torch.tensor([PALETTE[name] for name in names])
    scale = (pixels[..., None, :] * palette).sum(-1) / palette.square().sum(-1)
    away = (pixels[..., None, :] - scale.clamp(0.4, 1.1)[..., None] * palette).square().sum(-1)
    return away.argmin(-1) == names.index(colour)


def _both(toy: str, outfit: str, *unlike: str):
    numbers = _plain(toy, *unlike)
    assert numbers
    bare = render([Scene(toy, n, "studio", n) for n in numbers], SIZE)
    return bare, render([Scene(toy, n, "studio", n, None, outfit) for n in numbers], SIZE)


@pytest.mark.parametrize("toy", WEARERS)
@pytest.mark.parametrize("outfit", sorted(COLOURS))
def test_an_outfit_shows_its_colour_where_it_is_worn(toy, outfit):
    bare, worn = _both(toy, outfit, COLOURS[outfit])
    for before, there, after, mask in zip(*bare, *worn, strict=True):
        gained = (_coloured(after, COLOURS[outfit]) & mask).sum()
        assert gained > (_coloured(before, COLOURS[outfit]) & there).sum() + 0.03 * mask.sum()
        if outfit in HATS:
            # A hat is what stands highest.
            rows = mask.any(1).nonzero().flatten()
            top = torch.zeros_like(mask)
            top[rows[0] : rows[0] + len(rows) // 3] = True
            there_too = (_coloured(after, COLOURS[outfit]) & mask & top).sum()
            assert there_too > 0.12 * (mask & top).sum()


@pytest.mark.parametrize("toy", WEARERS)
def test_a_scarf_shows_every_colour_of_the_rainbow(toy):
    rainbow = ("red", "orange", "yellow", "green", "blue")
    bare, worn = _both(toy, "rainbow_scarf", *rainbow)
    for colour in rainbow:
        before = _coloured(bare.images, colour) & bare.masks
        after = _coloured(worn.images, colour) & worn.masks
        assert after.sum() > before.sum() + 0.01 * worn.masks.sum()


@pytest.mark.parametrize("toy", WEARERS)
@pytest.mark.parametrize("outfit", COVERING)
def test_clothes_hide_the_trunk_and_leave_head_and_tail(toy, outfit):
    shape, own = dressed(toy, outfit), load_toy(toy)
    sizes = {name: torch.full((64,), sum(span) / 2) for name, span in own.sizes.items()}
    assert own.figure is not None
    figure = own.figure({name: sum(span) / 2 for name, span in own.sizes.items()})
    middle = [float(a + b) / 2 for a, b in zip(figure.trunk.start, figure.trunk.end, strict=True)]
    generator = torch.Generator().manual_seed(2)
    way = Vec(*torch.randn(3, 64, generator=generator)).unit()

    def surface(start: list[float]) -> torch.Tensor:
        """The parts met from the outside on the way to a point."""
        t, point = torch.full((64,), 0.8), way
        for _ in range(80):
            point = Vec(*(s + t * w for s, w in zip(start, way, strict=True)))
            distance = torch.stack([p.distance for p in shape.pieces(point, sizes)]).amin(0)
            t = t - distance
        nearest = torch.stack([p.distance for p in shape.pieces(point, sizes)]).argmin(0)
        return torch.tensor([p.part for p in shape.pieces(point, sizes)])[nearest]

    clothed = surface(middle) >= len(own.parts)
    assert clothed.float().mean() > 0.45
    bare_head = surface([float(a) for a in figure.head]) < len(own.parts)
    assert bare_head.float().mean() > 0.15


@pytest.mark.parametrize("toy", WEARERS)
@pytest.mark.parametrize("outfit", OUTFITS)
def test_the_extent_encloses_what_is_worn(toy, outfit):
    shape = dressed(toy, outfit)
    for pick in (min, max):
        sizes = {name: pick(span) for name, span in shape.sizes.items()}
        wide, tall, deep = shape.extent(sizes)
        assert all(
            a >= b for a, b in zip((wide, tall, deep), load_toy(toy).extent(sizes), strict=True)
        )
        u, v = torch.meshgrid(*[torch.linspace(-1.0, 1.0, 50)] * 2, indexing="ij")
        u, v = u.flatten(), v.flatten()
        one = torch.ones_like(u)
        up = (v + 1.0) * 0.5 * tall
        for point in (
            Vec(u * wide, one * tall, v * deep),
            Vec(one * wide, up, u * deep),
            Vec(u * wide, up, one * deep),
            Vec(u * wide, up, -one * deep),
        ):
            pieces = shape.pieces(point, {name: one * value for name, value in sizes.items()})
            outfits = [p.distance for p in pieces if p.part >= len(load_toy(toy).parts)]
            assert torch.stack(outfits).min() > -1e-5


@pytest.mark.parametrize("toy", WEARERS)
def test_no_hat_is_cut_off(toy):
    scenes = [
        Scene(toy, 40 + n, PLACES[n * 4 % len(PLACES)], n, None, hat)
        for n, hat in enumerate(HATS * 3)
    ]
    assert not render(scenes, 32).masks[:, 0].any()


def test_clothes_carry_neither_pattern_nor_emblem_and_keep_their_colours():
    for outfit in OUTFITS:
        shape = dressed("dog", outfit)
        clothes = shape.parts[len(load_toy("dog").parts) :]
        assert clothes == load_outfit(outfit).parts
        assert not any(part.patterned for part in clothes)
        assert {part.role for part in clothes} <= set(PALETTE)
        assert shape.emblem_part < len(load_toy("dog").parts)
    numbers = [n for n in range(60) if traits("cat", n).pattern == "stripes"][:4]
    shirts = render([Scene("cat", n, "studio", 1, None, "yellow_shirt") for n in numbers], SIZE)
    yellow = [_coloured(i, "yellow")[m].sum() for i, m in zip(*shirts, strict=True)]
    assert min(yellow) > 40


def test_a_toy_without_an_outfit_is_the_toy_itself():
    assert all(dressed(toy, None) is load_toy(toy) for toy in TOYS)
    assert dressed("cat", "chef") is dressed("cat", "chef")


def test_dressed_scenes_do_not_depend_on_their_batch():
    scenes = [Scene(toy, 3, "snow", 5, None, outfit) for toy in WEARERS for outfit in OUTFITS[::3]]
    scenes.insert(2, Scene("dog", 3, "snow", 5))
    scenes.append(Scene("dog", 3, "snow", 5, "red", "red_hat"))
    together = render(scenes, 32)
    for number, scene in enumerate(scenes):
        assert torch.equal(render([scene], 32).images[0], together.images[number])
    assert len({image.numpy().tobytes() for image in together.images}) == len(scenes)


def test_wrong_outfits_are_refused():
    with pytest.raises(ValueError, match="no outfit 'tutu'"):
        render([Scene("dog", 1, "snow", 1, None, "tutu")], 32)
    with pytest.raises(ValueError, match="teapot wears no 'red_hat'"):
        render([Scene("teapot", 1, "snow", 1, None, "red_hat")], 32)
    with pytest.raises(KeyError, match="no toy"):
        dressed("unicorn", "red_hat")


def test_outfits_are_called_what_dreambench_calls_them():
    assert tuple(load_outfit(name).phrases[0] for name in OUTFITS) == LIVE_SCENES
    words = set(vocabulary())
    for name in OUTFITS:
        phrases = load_outfit(name).phrases
        assert 2 <= len(phrases) == len(set(phrases))
        assert all(set(split(phrase)) <= words for phrase in phrases)


@pytest.mark.parametrize("outfit", OUTFITS)
def test_a_caption_always_tells_the_outfit_and_stays_short(outfit):
    rng = random.Random(3)
    place = load_place("sunflowers").phrases
    phrases = load_outfit(outfit).phrases
    texts = [caption(Scene("dog", n, "sunflowers", 1, None, outfit), rng) for n in range(400)]
    assert all(any(f"dog {phrase}" in text for phrase in phrases) for text in texts)
    assert all(len(split(text)) <= LONGEST for text in texts)
    placed = [text for text in texts if text.endswith(place)]
    assert len(placed) > 200
    own = Counter(phrases[0] in text for text in texts)[True] / len(texts)
    assert own == pytest.approx(0.5, abs=0.12)


def test_only_dogs_and_cats_are_drawn_dressed_and_evenly():
    rng = random.Random(9)
    scenes = [draw_scene(rng, toys=("dog", "cat", "vase")) for _ in range(9000)]
    live = [s for s in scenes if s.toy in WEARERS]
    worn = [s for s in live if s.outfit is not None]
    assert all(s.outfit is None for s in scenes if s.toy == "vase")
    assert all(s.quality is None for s in worn)
    assert len(worn) / len(live) == pytest.approx(0.45, abs=0.03)
    counts = Counter(s.outfit for s in worn)
    assert set(counts) == set(OUTFITS)
    assert max(counts.values()) < 1.4 * min(counts.values())
    assert sum(s.place == "studio" for s in worn) / len(worn) == pytest.approx(0.5, abs=0.04)
