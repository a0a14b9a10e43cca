"""Subjects of the miniature world: individuals that training never draws, photographed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rarebooth.world.draw import FIRST_SUBJECT
from rarebooth.world.render import render
from rarebooth.world.scene import Scene
from rarebooth.world.signature import MINIATURE_KEY
from rarebooth.world.traits import traits

EXAMPLES = ("backpack", "dog", "teapot")
"""The classes of the subjects that come with rarebooth; individuals are the first that qualify."""

VALIDATION_FROM = 2_000_000
"""Instances from here on are subjects for tuning; no benchmark and no example uses them."""

PHOTO_PLACES = ("studio", "pink_fabric", "city", "blue_house", "autumn_leaves")
"""Where a subject's five photos are taken: none of the scenes of a contact sheet."""


@dataclass(frozen=True)
class Individual:
    """One toy: its class noun and the seed of its traits."""

    toy: str
    instance: int

    def scenes(self, places: Sequence[str], first_shot: int) -> list[Scene]:
        """One scene in each place, shots counted from ``first_shot``."""
        return [
            Scene(self.toy, self.instance, place, first_shot + index)
            for index, place in enumerate(places)
        ]


def example(toy: str) -> Individual:
    """The individual of a class that comes with rarebooth."""
    return find_individual(toy, FIRST_SUBJECT)


def find_individual(toy: str, start: int) -> Individual:
    """The first individual from ``start`` on that has two colours and a pattern of them."""
    instance = start
    while True:
        found = traits(toy, instance)
        if found.pattern != "none" and found.pattern_colour == found.second_colour:
            return Individual(toy, instance)
        instance += 1


def write_photos(individual: Individual, folder: Path, size: int) -> None:
    """Photograph an individual in ``PHOTO_PLACES`` and write signed PNGs of ``size`` pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = render(individual.scenes(PHOTO_PLACES, individual.instance), size=size)
    for number, pixels in enumerate(pictures.images.numpy(), start=1):
        chunk = PngInfo()
        chunk.add_itxt(MINIATURE_KEY, f"{individual.toy} {individual.instance}")
        Image.fromarray(pixels).save(folder / f"{number:02d}.png", pnginfo=chunk)
    (folder / "subject.toml").write_text(
        f'noun = "{individual.toy}"\ninstance = {individual.instance}\n', encoding="utf-8"
    )
