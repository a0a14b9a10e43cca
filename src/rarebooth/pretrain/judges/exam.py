"""The exam of the judges: do they tell individuals apart, and right captions from wrong ones?

Everything is photographed anew, of individuals that no training has seen. An encoder is anything
that turns pictures, and for captions texts, into L2-normalised features.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from torch import Tensor

from rarebooth.pretrain.judges.words import Words
from rarebooth.world.draw import draw_scene
from rarebooth.world.places import PLACES
from rarebooth.world.render import Pictures, render
from rarebooth.world.scene import Scene

STRANGERS_FROM: Final = 3_000_000
"""Instances from here on are nobody's training."""

STRANGERS: Final = 1_000_000

CAPTIONS: Final = 64
"""Captions of a test, the right one among them."""

NEAR: Final = 32
"""How many of the wrong ones differ from the right one in exactly one word group."""

Renderer = Callable[[Sequence[Scene]], Pictures]


class SeesPictures(Protocol):
    """Turns pictures uint8 [N, H, W, 3] into L2-normalised features [N, D]."""

    def images(self, pictures: Tensor) -> Tensor: ...  # noqa: D102


class SeesAndReads(SeesPictures, Protocol):
    """Turns texts into features of the same space as well."""

    def texts(self, texts: Sequence[str]) -> Tensor: ...  # noqa: D102


class Triplets(NamedTuple):
    """Scenes and pictures uint8 [N, S, S, 3], row by row.

    ``positive``: the anchor's individual in another scene. ``negative``: another individual of the
    class in the anchor's scene.
    """

    scenes: Sequence[tuple[Scene, Scene, Scene]]
    anchor: Tensor
    positive: Tensor
    negative: Tensor


class CaptionTests(NamedTuple):
    """Pictures uint8 [N, S, S, 3] and for each ``CAPTIONS`` captions, the right one first."""

    scenes: Sequence[Scene]
    pictures: Tensor
    captions: Sequence[Sequence[str]]


def draw_triplets(
    count: int, *, seed: int = 0, size: int = 64, renderer: Renderer | None = None
) -> Triplets:
    """Photograph triplets of strangers, without properties and outfits."""
    rng = random.Random(f"triplets {seed}")
    scenes = [_triplet(rng) for _ in range(count)]
    rendered = _photograph([scene for three in scenes for scene in three], size, renderer)
    anchor, positive, negative = rendered.unflatten(0, (count, 3)).unbind(1)
    return Triplets(scenes, anchor, positive, negative)


def triplet_accuracy(encoder: SeesPictures, triplets: Triplets) -> float:
    """How often the anchor is nearer, by cosine, to its positive than to its negative: 0 to 1."""
    anchor = encoder.images(triplets.anchor)
    near = (anchor * encoder.images(triplets.positive)).sum(-1)
    far = (anchor * encoder.images(triplets.negative)).sum(-1)
    return float((near > far).double().mean())


def draw_caption_tests(
    count: int, *, seed: int = 0, size: int = 64, renderer: Renderer | None = None
) -> CaptionTests:
    """Photograph strangers in all of the world's scenes, and write captions for each picture.

    The right one says all that can be said. Of the wrong ones, ``NEAR`` differ from it in exactly
    one word group; the others tell of other scenes, and are wrong too. All are in DreamBench's
    words.
    """
    rng = random.Random(f"captions {seed}")
    scenes = [_stranger(draw_scene(rng), rng) for _ in range(count)]
    captions = [_captions(scene, rng) for scene in scenes]
    return CaptionTests(scenes, _photograph(scenes, size, renderer), captions)


def caption_accuracy(encoder: SeesAndReads, tests: CaptionTests) -> float:
    """How often the right caption is the nearest, by cosine: 0 to 1. Ties are wrong."""
    distinct = list(dict.fromkeys(text for texts in tests.captions for text in texts))
    row = {text: number for number, text in enumerate(distinct)}
    likeness = encoder.images(tests.pictures) @ encoder.texts(distinct).T
    right = 0
    for near, texts in zip(likeness, tests.captions, strict=True):
        first, *others = near[[row[text] for text in texts]].tolist()
        right += first > max(others)
    return right / len(tests.captions)


def _triplet(rng: random.Random) -> tuple[Scene, Scene, Scene]:
    anchor = replace(_stranger(draw_scene(rng), rng), quality=None, outfit=None)
    place = rng.choice([name for name in PLACES if name != anchor.place])
    positive = replace(anchor, place=place, shot=rng.getrandbits(31))
    negative = _stranger(anchor, rng)
    while negative.instance == anchor.instance:
        negative = _stranger(anchor, rng)
    return anchor, positive, negative


def _stranger(scene: Scene, rng: random.Random) -> Scene:
    return replace(scene, instance=STRANGERS_FROM + rng.randrange(STRANGERS))


def _captions(scene: Scene, rng: random.Random) -> list[str]:
    true = Words.of(scene)
    near = [words.text() for words in true.wrong_in_one()]
    captions = {true.text(): None, **dict.fromkeys(rng.sample(near, NEAR))}
    while len(captions) < CAPTIONS:
        other = Words.of(_stranger(draw_scene(rng), rng))
        if not other.holds_for(true):
            captions.setdefault(other.text())
    return list(captions)


def _photograph(scenes: Sequence[Scene], size: int, renderer: Renderer | None) -> Tensor:
    pictures = render(scenes, size=size) if renderer is None else renderer(scenes)
    return pictures.images.cpu()
