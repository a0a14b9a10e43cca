"""What is drawn to score a subject: prompts, pictures a prompt, and seeds that all methods share.

Diverse: Ruiz et al. 2023, section 4.1. Simple: Gal et al. 2022, section 5.1. Both as in Zeng et al.
2024, section 4.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rarebooth.prompts import PLAIN, dreambench

LIVE: Final = frozenset({"cat", "dog"})
"""Nouns of which DreamBench asks its live prompts (Ruiz et al. 2023, data set)."""

VALIDATION: Final = (
    "a photo of {} on a sandy beach by the sea",
    "a photo of {} on grass among sunflowers",
    "a photo of {} in front of a mountain",
    "a photo of {} on a soft white carpet",
)
"""Prompts that choose a checkpoint: none of DreamBench's, though scenes of its in other words.

Of objects all four are, of cats and dogs the beach and the mountain, so that what chooses differs
from what is scored by wording and seeds, and is no test of scenes that were never seen.
"""

CLASS: Final = (PLAIN, "a {}")
"""The class without the subject: Zeng et al. 2024, figure 4, and Ruiz et al. 2023, section 4.3."""

UNRELATED: Final = (
    ("teapot", "a photo of a teapot on a wooden floor"),
    ("dog", "a photo of a dog in the snow"),
    ("vase", "a photo of a vase on the beach"),
    ("cat", "a photo of a cat on a cobblestone street"),
    ("sneaker", "a photo of a sneaker with a city in the background"),
)
"""Nouns, and prompts of them that have nothing to do with a subject of another noun."""

SPARE: Final = 4
"""Unrelated prompts that are drawn: those of a subject's own noun are left out."""


@dataclass(frozen=True)
class Protocol:
    """Prompts and how many pictures of each: the n-th with the seed ``first_seed + n``.

    ``templates``: ``{}`` stands for the subject's phrase or the class noun.
    """

    templates: tuple[str, ...]
    count: int
    first_seed: int

    @property
    def seeds(self) -> range:
        """The seeds of every prompt."""
        return range(self.first_seed, self.first_seed + self.count)

    @property
    def pictures(self) -> int:
        """How many pictures there are in all."""
        return len(self.templates) * self.count


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How many pictures a prompt; of ``validation``, ``others`` and all else, at least one.

    The defaults are the papers': 25 x 4 diverse and 64 simple pictures.
    """

    diverse: int = 4
    simple: int = 64
    validation: int = 4
    others: int = 16

    def subject(self, noun: str) -> dict[str, Protocol]:
        """What is drawn of the subject to score it, by protocol."""
        return {
            "diverse": Protocol(dreambench(live=noun in LIVE), self.diverse, 0),
            "simple": Protocol((PLAIN,), self.simple, 0),
        }

    def choosing(self) -> Protocol:
        """What is drawn to choose a checkpoint, with seeds of its own."""
        return Protocol(VALIDATION, self.validation, 10_000)

    def beside(self, noun: str) -> dict[str, Protocol]:
        """What is drawn beside the subject, by the tuned model and by the base."""
        return {
            "class": Protocol(CLASS, self.others, 20_000),
            "unrelated": Protocol(_unrelated(noun), max(1, self.others // SPARE), 30_000),
        }


def _unrelated(noun: str) -> tuple[str, ...]:
    found: Sequence[str] = [prompt for named, prompt in UNRELATED if named != noun]
    return tuple(found[:SPARE])
