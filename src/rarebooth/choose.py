"""The choice of a checkpoint, by pictures of prompts that no score is made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rarebooth.metric import Judges, PictureSet
from rarebooth.photos import Pixels


@dataclass(frozen=True)
class Quality:
    """How good a checkpoint is on prompts that are there for choosing.

    ``likeness``: mean DINO cosine to the photos. ``following``: mean CLIP cosine to the prompts
    without the learnt word. ``harmonic``: their harmonic mean, 0 where one is not positive.
    """

    likeness: float
    following: float

    @property
    def harmonic(self) -> float:
        """The larger, the better: it falls with the worse of the two."""
        if min(self.likeness, self.following) <= 0:
            return 0.0
        return 2 / (1 / self.likeness + 1 / self.following)


@dataclass(frozen=True)
class Choice:
    """The recommended checkpoint, the rule that chose it, and one sentence why.

    ``rule``: "held-out" or "last". ``qualities``: what was judged, by checkpoint.
    """

    checkpoint: str
    rule: str
    why: str
    qualities: Mapping[str, Quality] = field(default_factory=dict[str, Quality])


def quality(pictures: PictureSet, photos: Pixels, noun: str, judges: Judges) -> Quality:
    """Judge the pictures of one checkpoint."""
    likeness = judges.dino.images(pictures.flat) @ judges.dino.images(photos).T
    count = pictures.images.shape[1]
    prompts = [prompt for prompt in pictures.asking(noun) for _ in range(count)]
    following = judges.clip.images(pictures.flat) * judges.clip.texts(prompts)
    return Quality(float(likeness.mean()), float(following.sum(dim=1).mean()))


def held_out(qualities: Mapping[str, Quality]) -> str:
    """The checkpoint with the largest harmonic mean; of equal ones the earlier."""
    return max(qualities, key=lambda name: qualities[name].harmonic)


def why(qualities: Mapping[str, Quality], chosen: str) -> str:
    """One sentence that says why it was chosen."""
    best = qualities[chosen]
    said = (
        f"{chosen} is recommended: likeness {best.likeness:.2f} and prompt-following "
        f"{best.following:.2f} have the highest harmonic mean, {best.harmonic:.3f}"
    )
    others = {name: each for name, each in qualities.items() if name != chosen}
    if not others:
        return f"{said}; there is no other."
    second = held_out(others)
    return f"{said}; next is {second} with {others[second].harmonic:.3f}."
