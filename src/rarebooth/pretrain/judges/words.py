"""What is said of a scene, in word groups, so that a sentence can be wrong in exactly one of them.

The groups are class, colour, look (shiny, wet, cube shaped), place and outfit. The properties "red"
and "purple" are colours: nobody who reads "a red dog" can tell which of the two was meant.
"""

import random
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Self

from rarebooth.prompts import QUALITIES
from rarebooth.world.captions import FRAMES, LONGEST, main_colour, split
from rarebooth.world.colours import PALETTE
from rarebooth.world.outfits import OUTFITS, load_outfit
from rarebooth.world.places import PLACES, load_place
from rarebooth.world.scene import Scene
from rarebooth.world.toys import TOYS, load_toy

GROUPS: Final = ("toy", "colour", "look", "place", "outfit")
"""The fields of ``Words``."""

PLAIN_FRAME: Final = "a photo of a {}"


@dataclass(frozen=True)
class Words:
    """The word groups of a sentence: names as in the world's lists, None where nothing is said."""

    toy: str
    colour: str | None = None
    look: str | None = None
    place: str | None = None
    outfit: str | None = None

    @classmethod
    def of(cls, scene: Scene) -> Self:
        """All that can be said about a scene; a place without words of its own is not named."""
        painted = scene.quality in PALETTE
        return cls(
            toy=scene.toy,
            colour=scene.quality if painted else main_colour(scene.toy, scene.instance),
            look=None if painted else scene.quality,
            place=scene.place if scene.place in options("place") else None,
            outfit=scene.outfit,
        )

    def text(self, rng: random.Random | None = None) -> str:
        """A sentence that says it: in DreamBench's words, or drawn among paraphrases by ``rng``."""
        subject = " ".join(word for word in (self.look, self.colour, self.toy) if word is not None)
        if rng is not None and self.look is not None and self.colour is not None:
            subject = f"{' '.join(rng.sample((self.look, self.colour), 2))} {self.toy}"
        frame = PLAIN_FRAME
        if rng is not None:
            frame = rng.choices([f for _, f in FRAMES], [weight for weight, _ in FRAMES])[0]
        worn = () if self.outfit is None else load_outfit(self.outfit).phrases
        where = () if self.place is None else load_place(self.place).phrases
        rest = [_one(phrases, rng) for phrases in (worn, where) if phrases]
        text = " ".join([_framed(frame, subject), *rest])
        return text if len(split(text)) <= LONGEST else " ".join([_framed("a {}", subject), *rest])

    def alternatives(self, group: str) -> tuple["Words", ...]:
        """Every sentence that says something else in one group and the same in the others."""
        return tuple(
            replace(self, **{group: option})
            for option in options(group)
            if option != getattr(self, group) and (group != "outfit" or wears(self.toy))
        )

    def wrong_in_one(self) -> tuple["Words", ...]:
        """Every sentence that differs in exactly one group."""
        return tuple(words for group in GROUPS for words in self.alternatives(group))

    def holds_for(self, scene: "Words") -> bool:
        """Whether it is true of a scene of which all is said: what is not said cannot be wrong."""
        said = ((getattr(self, group), getattr(scene, group)) for group in GROUPS)
        return all(mine is None or mine == true for mine, true in said)


@cache
def options(group: str) -> tuple[str, ...]:
    """What can be said in a group."""
    return {
        "toy": TOYS,
        "colour": tuple(PALETTE),
        "look": tuple(quality for quality in QUALITIES if quality not in PALETTE),
        "place": tuple(name for name in PLACES if load_place(name).phrases[0]),
        "outfit": OUTFITS,
    }[group]


def wears(toy: str) -> bool:
    """Whether toys of a class can wear outfits."""
    return load_toy(toy).figure is not None


def _one(phrases: tuple[str, ...], rng: random.Random | None) -> str:
    return phrases[0] if rng is None else rng.choice(phrases)


def _framed(frame: str, subject: str) -> str:
    return re.sub(r"\ba(?= [aeio])", "an", frame.replace("{}", subject))
