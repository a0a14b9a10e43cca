"""Sharpness: whether training has blurred pictures, or covered them with artefacts."""

import math

import numpy as np

from rarebooth.metric import Evidence, Judges, Metric, PictureSet, Score
from rarebooth.metrics.sharpness import sharpness
from rarebooth.photos import Pixels


class Sharpness(Metric):
    """Doublings, either way, from the sharpness that pictures should have.

    The class should be as sharp as the base's own pictures of it, the subject as sharp as its
    photos. ".ratio" says which way: below 1 is blurred, above 1 are artefacts or more detail.
    """

    name = "sharpness"
    meaning = "doublings of sharpness away from the base's class, or from the photos"
    better = "lower"
    source = "measure: Pech-Pacheco et al. 2000; what it is for: Zeng et al. 2024, figures 4 and 5"

    def score(self, evidence: Evidence) -> dict[str, Score]:
        """Scores by protocol and of the class; none against pictures without any edge."""
        goals = {name: (each, evidence.photos) for name, each in evidence.subject.items()}
        if "class" in evidence.others and "class" in evidence.untouched:
            goals["class"] = evidence.others["class"], evidence.untouched["class"].flat
        found: dict[str, Score] = {}
        for name, (pictures, goal) in goals.items():
            ratio = _ratio(pictures, goal)
            if ratio is not None:
                found[name] = Score(abs(math.log2(ratio.value)))
                found[f"{name}.ratio"] = ratio
        return found

    def convention(self, judges: Judges) -> str:  # noqa: ARG002  no network looks
        """What is measured."""
        return "variance of the 4-neighbour Laplacian of BT.601 luma, at the pictures' own size"


def _ratio(pictures: PictureSet, goal: Pixels) -> Score | None:
    """Mean sharpness over that of the goal; None where either has none."""
    mine, wanted = sharpness(pictures.images), float(sharpness(goal).mean())
    if not wanted or not np.any(mine):
        return None
    return Score.of(pictures.templates, mine / wanted)
