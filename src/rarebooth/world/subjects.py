"""Subjects of the miniature world: individuals that training never draws, photographed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rarebooth.protocols import LIVE
from rarebooth.world.dice import Dice
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
"""Where an individual's five photos are taken: none of the scenes of a contact sheet."""

SUBJECT_PLACES = (*PHOTO_PLACES, "wheat_field")
"""Where the photos of the named subjects are taken, four to six of these for each."""


@dataclass(frozen=True)
class Individual:
    """One toy: its class noun and the seed of its traits."""

    toy: str
    instance: int

    @property
    def mark(self) -> str:
        """What its photos say of themselves: "teapot 2008001"."""
        return f"{self.toy} {self.instance}"

    @property
    def photo_places(self) -> tuple[str, ...]:
        """Where its photos are taken, in their order."""
        return PHOTO_PLACES

    def scenes(self, places: Sequence[str], first_shot: int) -> list[Scene]:
        """One scene in each place, shots counted from ``first_shot``."""
        return [
            Scene(self.toy, self.instance, place, first_shot + index)
            for index, place in enumerate(places)
        ]


@dataclass(frozen=True)
class Subject(Individual):
    """A named individual with ``photos`` photos."""

    name: str
    photos: int

    @property
    def live(self) -> bool:
        """Whether DreamBench asks its live prompts of it, as it does of cats and dogs."""
        return self.toy in LIVE

    @property
    def photo_places(self) -> tuple[str, ...]:
        """Where its photos are taken, in their order: drawn from ``SUBJECT_PLACES``."""
        dice, left = Dice("photos", self.name), list(SUBJECT_PLACES)
        return tuple(left.pop(dice.pick(range(len(left)))) for _ in range(self.photos))


BENCHMARK = (
    Subject("backpack", 1_100_002, "backpack", 6),
    Subject("backpack", 1_101_000, "backpack_dog", 5),
    Subject("stuffed animal", 1_102_000, "bear_plushie", 5),
    Subject("bowl", 1_103_001, "berry_bowl", 6),
    Subject("can", 1_104_000, "can", 6),
    Subject("candle", 1_105_002, "candle", 5),
    Subject("cat", 1_106_000, "cat", 5),
    Subject("cat", 1_107_002, "cat2", 5),
    Subject("clock", 1_108_000, "clock", 6),
    Subject("sneaker", 1_109_000, "colorful_sneaker", 5),
    Subject("dog", 1_110_001, "dog", 5),
    Subject("dog", 1_111_002, "dog2", 6),
    Subject("dog", 1_112_003, "dog3", 6),
    Subject("dog", 1_113_000, "dog5", 5),
    Subject("dog", 1_114_001, "dog6", 5),
    Subject("dog", 1_115_000, "dog7", 5),
    Subject("dog", 1_116_000, "dog8", 5),
    Subject("toy", 1_117_000, "duck_toy", 4),
    Subject("boot", 1_118_004, "fancy_boot", 6),
    Subject("stuffed animal", 1_119_000, "grey_sloth_plushie", 5),
    Subject("toy", 1_120_003, "monster_toy", 5),
    Subject("glasses", 1_121_008, "pink_sunglasses", 6),
    Subject("toy", 1_122_000, "poop_emoji", 5),
    Subject("toy", 1_123_002, "rc_car", 5),
    Subject("cartoon", 1_124_015, "red_cartoon", 4),
    Subject("toy", 1_125_003, "robot_toy", 5),
    Subject("sneaker", 1_126_000, "shiny_sneaker", 6),
    Subject("teapot", 1_127_000, "teapot", 5),
    Subject("vase", 1_128_000, "vase", 6),
    Subject("stuffed animal", 1_129_000, "wolf_plushie", 5),
)
"""One subject for each of DreamBench's: its name, class and count of photos (Ruiz et al. 2023, data
set). Tuning never looks at them.
"""

VALIDATION = (
    Subject("dog", 2_000_001, "dog_1", 5),
    Subject("cat", 2_001_004, "cat_1", 5),
    Subject("stuffed animal", 2_002_002, "stuffed_animal_1", 5),
    Subject("toy", 2_003_000, "toy_1", 5),
    Subject("backpack", 2_004_000, "backpack_1", 5),
    Subject("boot", 2_005_001, "boot_1", 5),
    Subject("clock", 2_006_000, "clock_1", 5),
    Subject("sneaker", 2_007_003, "sneaker_1", 5),
    Subject("teapot", 2_008_001, "teapot_1", 5),
    Subject("vase", 2_009_000, "vase_1", 5),
)
"""Subjects for tuning."""


def find(name: str) -> Subject:
    """The benchmark or validation subject of a name.

    Raises:
        KeyError: no such subject.
    """
    for subject in (*BENCHMARK, *VALIDATION):
        if subject.name == name:
            return subject
    names = ", ".join(subject.name for subject in (*BENCHMARK, *VALIDATION))
    raise KeyError(f"no subject {name!r}; there are: {names}")


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


def marked(mark: str) -> Individual:
    """The individual that a signed photo shows, by what the photo says: "teapot 2008001"."""
    toy, _, instance = mark.rpartition(" ")
    return Individual(toy, int(instance))


def write_photos(individual: Individual, folder: Path, size: int) -> None:
    """Photograph an individual in its places and write signed PNGs of ``size`` pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = individual.scenes(individual.photo_places, individual.instance)
    for number, pixels in enumerate(render(scenes, size=size).images.numpy(), start=1):
        chunk = PngInfo()
        chunk.add_itxt(MINIATURE_KEY, individual.mark)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png", pnginfo=chunk)
    (folder / "subject.toml").write_text(
        f'noun = "{individual.toy}"\ninstance = {individual.instance}\n', encoding="utf-8"
    )
