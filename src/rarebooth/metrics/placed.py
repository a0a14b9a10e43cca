"""Placed: likeness between that of other individuals, 0, and of the subject itself, 1."""

import numpy as np

from rarebooth.metric import Evidence, Judges, Metric, PictureSet, Score
from rarebooth.metrics.asked import asked
from rarebooth.metrics.pairs import chosen, parts, to_photos, told
from rarebooth.metrics.palette import renders, truth
from rarebooth.metrics.placement import place
from rarebooth.photos import Pixels
from rarebooth.world.subjects import Individual


class Placed(Metric):
    """Where the toy's colours lie between other individuals and the subject, in the same scenes.

    A mean over prompts is placed between the means of their floors and ceilings, and a prompt's
    number is its share of that: an outfit or "a red {}" hides most of what tells individuals apart,
    and a score placed in so narrow a gap by itself would be chance.
    ".dino" places the mean DINO cosine to the photos instead. "class" is of the plain class, where
    less is better: "class.leak" is how much of the subject training has put into it.
    """

    name = "placed"
    meaning = "colours of the toy, from other individuals (0) to true renders of the subject (1)"
    better = "higher"
    source = "rarebooth; colours by histogram intersection, Swain and Ballard 1991"

    def score(self, evidence: Evidence) -> dict[str, Score]:
        """Scores by protocol, by the kind of prompt, and of the class; the miniature's alone."""
        individual = evidence.individual
        if individual is None:
            return {}
        found: dict[str, Score] = {}
        for name, pictures in evidence.subject.items():
            above, gaps = _overlaps(individual, pictures)
            for part, rows in parts(pictures.templates).items():
                placed = above[rows] / gaps[rows].mean()
                found[f"{name}{part}"] = Score.of(chosen(pictures.templates, rows), placed)
            found[f"{name}.dino"] = Score(_likeness(individual, pictures, evidence))
        if tuned := evidence.others.get("class"):
            above, gaps = _overlaps(individual, tuned)
            found["class"] = Score.of(tuned.templates, above / gaps.mean())
            if base := evidence.untouched.get("class"):
                before, _ = _overlaps(individual, base)
                found["class.leak"] = Score.of(tuned.templates, (above - before) / gaps.mean())
        return found

    def convention(self, judges: Judges) -> str:
        """What is compared, and the DINO."""
        return f"64 colours where the toy stands, true renders; {told(judges.dino)}"


def _overlaps(individual: Individual, pictures: PictureSet) -> tuple[np.ndarray, np.ndarray]:
    """Overlaps with the true colours above the floor [P, N], and from floor to ceiling [P]."""
    size = pictures.images.shape[2]
    truths = [truth(individual, asked(template), size) for template in pictures.templates]
    above = [
        [known.overlap(picture) - known.floor for picture in row]
        for known, row in zip(truths, pictures.images, strict=True)
    ]
    return np.array(above), np.array([known.ceiling - known.floor for known in truths])


def _likeness(individual: Individual, pictures: PictureSet, evidence: Evidence) -> float:
    """The mean cosine to the photos, placed: of all prompts at once.

    In single scenes floor and ceiling can be so close that their distance is chance.
    """
    judge, size = evidence.judges.dino, pictures.images.shape[2]
    photos = judge.images(evidence.photos)

    def mean(images: Pixels) -> float:
        return float((judge.images(images) @ photos.T).mean())

    scenes = [renders(individual, asked(template), size) for template in pictures.templates]
    own, others = ([mean(each.images) for each in shown] for shown in zip(*scenes, strict=True))
    cosine = float(to_photos(judge, pictures, evidence.photos).mean())
    return place(cosine, float(np.mean(others)), float(np.mean(own)))
