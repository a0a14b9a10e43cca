import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import rarebooth
from rarebooth.world.body import Body
from rarebooth.world.places import load_place
from rarebooth.world.render import render
from rarebooth.world.scene import Scene
from rarebooth.world.shot import Finish, View, draw_shot
from rarebooth.world.surroundings import paint_surroundings
from rarebooth.world.toy_light import Traced, trace_toys
from rarebooth.world.toys import TOYS, load_toy

SIDE = 48
CPU = torch.device("cpu")
LIQUIDS = ("water", "milk")
NEW = {
    "water": "floating on top of water",
    "milk": "floating in an ocean of milk",
    "mirror": "on top of a mirror",
    "white_rug": "on top of a white rug",
}


def _traced(scene: Scene, **changes: object) -> tuple[View, Finish, Traced]:
    """One scene before the surroundings are painted, in its place with some fields changed."""
    toy, place = load_toy(scene.toy), replace(load_place(scene.place), **changes)
    rows = [draw_shot(scene, toy, place)]
    view, finish = View.of(rows, CPU), Finish.of(rows, toy, CPU)
    with torch.no_grad():
        return view, finish, trace_toys(view, finish, toy, "plain", SIDE)


@pytest.mark.parametrize("place", LIQUIDS)
@pytest.mark.parametrize("toy", ["can", "dog", "vase"])
def test_a_liquid_hides_the_toys_lower_end_and_nothing_else(place, toy):
    scene = Scene(toy, 3, place, 5)
    view, finish, sunk = _traced(scene)
    _, _, whole = _traced(scene, sink=0.0)
    assert sunk.hit.sum() < 0.97 * whole.hit.sum()
    assert not (sunk.hit & ~whole.hit).any()

    # Samples of each ray down to the surface, by brute force.
    way = view.rays(SIDE)
    zero = torch.zeros(way.x.numel(), dtype=torch.int64)
    start, surface = view.camera.at(zero), view.surface[zero]
    reach = torch.where(way.y < 0.0, (surface - start.y) / way.y, 8.0).clamp_max(8.0)
    body = Body(load_toy(toy), finish.sizes, None, finish.reach).at(zero)
    closest = torch.stack(
        [body.distance(start.along(way, reach * (n / 400))) for n in range(401)]
    ).amin(0)
    assert closest[sunk.hit].max() < 0.02
    assert closest[~sunk.hit].min() > -0.02


def test_a_toy_sinks_by_a_share_of_its_height():
    place = load_place("water")
    row = draw_shot(Scene("can", 3, "water", 5), load_toy("can"), place)
    assert row["surface"] == pytest.approx(place.sink * (row["bounds y"] - 0.01))
    solid = draw_shot(Scene("can", 3, "snow", 5), load_toy("can"), load_place("snow"))
    assert solid["surface"] == 0.0


def test_the_gap_grows_from_the_waterline_outwards():
    _, _, traced = _traced(Scene("can", 3, "water", 5))
    gap, hit = traced.gap.view(SIDE, SIDE), traced.hit.view(SIDE, SIDE)
    low = int(hit.any(1).nonzero().max())
    column = int(hit[low].nonzero().float().mean())
    below = gap[low + 1 :, column]
    assert below[0] < 0.1
    assert (below.diff() > 0.0).all()
    _, _, solid = _traced(Scene("can", 3, "snow", 5))
    assert solid.gap.min() > 10.0


def test_the_mirror_shows_the_toys_colour_below_it():
    red, purple = (Scene("can", 4, "mirror", 2, colour) for colour in ("red", "purple"))
    pictures = render([red, purple], 64)
    mask = pictures.masks[0]
    low = int(mask.any(1).nonzero().max())
    columns = mask[low - 4].nonzero().squeeze(1)
    warmth = pictures.images[..., 0].float() - pictures.images[..., 2].float()
    toy, below, beside = (
        warmth[0][area].mean() - warmth[1][area].mean()
        for area in (
            mask,
            (slice(low + 3, low + 8), slice(int(columns[2]), int(columns[-2]))),
            (slice(low + 3, low + 8), slice(0, 6)),
        )
    )
    assert toy > 30.0
    assert below > 0.4 * toy
    assert abs(beside) < 0.05 * toy


def test_the_mirrors_toy_is_the_toy_upside_down():
    _, _, traced = _traced(Scene("candle", 4, "mirror", 2))
    hit, mirrored = traced.hit.view(SIDE, SIDE), traced.mirrored.view(SIDE, SIDE)
    # The candle's wide saucer is at the bottom of the toy, and at the top of its reflection.
    rows = mirrored.any(1).nonzero().squeeze(1)
    widths = mirrored.sum(1)[rows[0] :]
    assert widths[:8].max() > 1.3 * widths[14:].max()
    assert rows.float().mean() > hit.any(1).nonzero().float().mean()


def test_only_a_mirror_changes_what_the_ground_shows():
    scene = Scene("dog", 4, "mirror", 2)
    view, _, traced = _traced(scene)
    flat = replace(load_place("mirror"), mirror=None)
    with torch.no_grad():
        plain = paint_surroundings(
            view, flat, False, SIDE, traced._replace(colour=traced.colour.clone())
        )
        real = paint_surroundings(view, load_place("mirror"), False, SIDE, traced)
    changed = (plain - real).abs().amax(0) > 1e-4
    assert changed[traced.mirrored].any()
    assert not changed[traced.hit].any()
    assert not changed.view(SIDE, SIDE)[:, 0].any()


@pytest.mark.parametrize("place", NEW)
def test_no_toy_leaves_the_picture(place):
    scenes = [Scene(toy, 7 + n, place, n) for toy in TOYS for n in range(2)]
    masks = render(scenes, 32).masks
    border = torch.ones(32, 32, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    assert (masks & border).sum((1, 2)).max() <= 2
    assert masks.float().mean((1, 2)).min() > 0.04


def test_pictures_do_not_depend_on_their_batch():
    scenes = [
        Scene(toy, n, place, n, quality)
        for n, (toy, quality) in enumerate((("dog", None), ("vase", "wet"), ("can", "cube shaped")))
        for place in NEW
    ]
    together = render(scenes, 32).images
    for number, scene in enumerate(scenes):
        assert torch.equal(render([scene], 32).images[0], together[number])


def test_the_phrases_are_single_tokens_of_the_embedded_base():
    file = Path(rarebooth.__file__).parent / "assets/embedded/tokenizer/vocab.json"
    known = {word.removesuffix("</w>") for word in json.loads(file.read_text("utf-8"))}
    for place, own in NEW.items():
        phrases = load_place(place).phrases
        assert phrases[0] == own
        assert set(" ".join(phrases).split()) <= known
