"""Cosines of pictures, and the order in which they are averaged.

Pairs are averaged to a picture, pictures to a prompt, prompts to a subject: papers do not say, and
a mean over all pairs would weigh subjects by their photos. A photo is never paired with itself.
"""

import numpy as np

from rarebooth.metric import Evidence, PictureJudge, PictureSet, Score
from rarebooth.photos import Pixels
from rarebooth.prompts import QUALITIES

_PROPERTIES = tuple(f"a {quality} {{}}" for quality in QUALITIES)


def features(judge: PictureJudge, pictures: PictureSet) -> np.ndarray:
    """L2-normalised features, float [P, N, D], of a set."""
    prompts, count = pictures.images.shape[:2]
    return judge.images(pictures.flat).numpy().reshape(prompts, count, -1)


def to_photos(judge: PictureJudge, pictures: PictureSet, photos: Pixels) -> np.ndarray:
    """Cosines [P, N, R] of every picture of a set to every photo."""
    return features(judge, pictures) @ judge.images(photos).numpy().T


def among(judge: PictureJudge, photos: Pixels) -> np.ndarray:
    """Cosines [R, R - 1] of every photo to all others."""
    seen = judge.images(photos).numpy()
    return to_others(seen @ seen.T)


def likeness(judge: PictureJudge, evidence: Evidence) -> dict[str, Score]:
    """Mean cosines to all photos by protocol, and "real", that of photos to one another."""
    found: dict[str, Score] = {}
    for name, pictures in evidence.subject.items():
        means = to_photos(judge, pictures, evidence.photos).mean(axis=2)
        found |= split(name, pictures.templates, means)
    if len(evidence.photos) > 1:
        found["real"] = Score(float(among(judge, evidence.photos).mean()))
    return found


def to_others(table: np.ndarray) -> np.ndarray:
    """A table [..., N, N] of all pairs without its diagonal: [..., N, N - 1]."""
    count = table.shape[-1]
    return table[..., ~np.eye(count, dtype=bool)].reshape(*table.shape[:-1], count - 1)


def parts(templates: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Which prompts, bool [P]: all of them (""), and where some ask a property, those and the rest.

    A property contradicts the photos' colours and shape, so that likeness falls with obedience.
    """
    asks = np.array([template.startswith(_PROPERTIES) for template in templates])
    found = {"": np.ones(len(templates), dtype=bool)}
    if asks.any():
        found |= {".properties": asks, ".scenes": ~asks}
    return {part: rows for part, rows in found.items() if rows.any()}


def split(name: str, templates: tuple[str, ...], pictures: np.ndarray) -> dict[str, Score]:
    """The score of pictures [P, N] by ``parts``."""
    return {
        f"{name}{part}": Score.of(chosen(templates, rows), pictures[rows])
        for part, rows in parts(templates).items()
    }


def chosen(templates: tuple[str, ...], rows: np.ndarray) -> tuple[str, ...]:
    """The templates of some rows, bool [P]."""
    return tuple(templates[row] for row in np.flatnonzero(rows))


def told(judge: PictureJudge) -> str:
    """A judge's name and what it is fed."""
    return f"{judge.name}, {judge.fed}"
