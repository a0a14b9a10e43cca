"""Drift: how far training has moved pictures that it should have left alone."""

import numpy as np

from rarebooth.metric import Evidence, Judges, Metric, PictureSet, Reader, Score
from rarebooth.metrics.pairs import features, told
from rarebooth.protocols import UNRELATED


class Drift(Metric):
    """Mean distance of the tuned model's pictures to the base's of the same prompt and seed.

    By DINO, 1 - cosine, and by LPIPS where it is there. "unrelated.class_lost", in the miniature:
    the share of pictures that showed the class they were asked for, and no longer do.
    """

    name = "drift"
    meaning = "mean distance to the untouched base's picture of the same prompt and seed"
    better = "lower"
    source = "rarebooth; a number for language drift, Ruiz et al. 2023, section 3.2"

    def score(self, evidence: Evidence) -> dict[str, Score]:
        """Scores of the plain class and of unrelated prompts."""
        judges = evidence.judges
        found: dict[str, Score] = {}
        for name, tuned in evidence.others.items():
            base = evidence.untouched.get(name)
            if base is None:
                continue
            # Of unit vectors half the squared distance is 1 - cosine, and of equal ones exactly 0.
            apart = features(judges.dino, tuned) - features(judges.dino, base)
            found[name] = Score.of(tuned.templates, (apart**2).sum(axis=2) / 2)
            if judges.lpips:
                distances = judges.lpips.between(tuned.flat, base.flat).numpy()
                found[f"{name}.lpips"] = Score.of(tuned.templates, _by_prompt(distances, tuned))
            nouns = _nouns(tuned)
            if judges.reader and nouns is not None:
                lost = _shows(judges.reader, base, nouns) & ~_shows(judges.reader, tuned, nouns)
                found[f"{name}.class_lost"] = Score.of(tuned.templates, lost.astype(float))
        return found

    def convention(self, judges: Judges) -> str:
        """The networks and what they are fed."""
        distance = judges.lpips.name if judges.lpips else "no LPIPS"
        reader = f"; classes read by {judges.reader.name}" if judges.reader else ""
        return f"1 - cosine by {told(judges.dino)}; {distance}{reader}"


def _nouns(pictures: PictureSet) -> np.ndarray | None:
    """The class that each picture, [P, N], was asked for; None unless all prompts are known."""
    known = {prompt: noun for noun, prompt in UNRELATED}
    if not known.keys() >= set(pictures.templates):
        return None
    nouns = np.array([known[template] for template in pictures.templates])
    return np.broadcast_to(nouns[:, None], pictures.images.shape[:2])


def _shows(reader: Reader, pictures: PictureSet, nouns: np.ndarray) -> np.ndarray:
    """Whether the class that is read is the right one, bool [P, N]."""
    return _by_prompt(np.array(reader.read(pictures.flat)["class"]), pictures) == nouns


def _by_prompt(flat: np.ndarray, pictures: PictureSet) -> np.ndarray:
    return flat.reshape(pictures.images.shape[:2])
