"""What a prompt asks for, in the miniature world's own terms."""

from dataclasses import dataclass

from rarebooth.errors import SettingsError
from rarebooth.prompts import QUALITIES
from rarebooth.world.outfits import OUTFITS, load_outfit
from rarebooth.world.places import PLACES, load_place
from rarebooth.world.scene import Scene
from rarebooth.world.subjects import Individual

PLAIN_PLACE = "studio"
"""Where a toy stands when a prompt names no place."""


@dataclass(frozen=True)
class Asked:
    """A scene without its toy: the fields of ``Scene`` that a prompt decides."""

    place: str = PLAIN_PLACE
    quality: str | None = None
    outfit: str | None = None

    def scene(self, individual: Individual, shot: int) -> Scene:
        """This scene with an individual in it."""
        toy, instance = individual.toy, individual.instance
        return Scene(toy, instance, self.place, shot, self.quality, self.outfit)


def asked(template: str) -> Asked:
    """The scene of a prompt in which ``{}`` stands for the subject.

    A property stands before ``{}`` ("a red {}"); the words of a place or an outfit, DreamBench's or
    the world's others, follow it; where there are none, the toy stands in the studio.

    Raises:
        SettingsError: no ``{}``, or words after it that are no scene of the miniature world.
    """
    before, mark, after = template.partition("{}")
    if not mark:
        raise SettingsError(
            f"the prompt {template!r} has no {{}}, where the subject belongs. Write one, as in "
            '"a photo of {} in the snow".'
        )
    quality = next((name for name in QUALITIES if before.endswith(f" {name} ")), None)
    words = after.strip().lower()
    if not words:
        return Asked(quality=quality)
    for name in PLACES:
        if words in load_place(name).phrases:
            return Asked(place=name, quality=quality)
    for name in OUTFITS:
        if words in load_outfit(name).phrases:
            return Asked(quality=quality, outfit=name)
    raise SettingsError(
        f"the miniature world has no scene {words!r}, asked for in {template!r}. Use one of the "
        "scenes in rarebooth.prompts."
    )
