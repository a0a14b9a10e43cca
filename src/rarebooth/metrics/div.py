"""DIV: how different pictures of one prompt are."""

import numpy as np

from rarebooth.metric import Distance, Evidence, Judges, Metric, PictureSet, Score
from rarebooth.metrics.pairs import features, to_others, told
from rarebooth.photos import Pixels


class Diversity(Metric):
    """Mean distance of pictures of the same prompt, by LPIPS as in the paper and by DINO.

    A picture's own score is its mean distance to the others of its prompt.
    """

    name = "div"
    meaning = "mean distance of pictures of the same prompt"
    better = "higher"
    source = "Ruiz et al. 2023, section 4.3"

    def score(self, evidence: Evidence) -> dict[str, Score]:
        """Scores by protocol, of the class and of the base's; none of one picture a prompt."""
        judges = evidence.judges
        found: dict[str, Score] = {}
        for name, pictures in _sets(evidence).items():
            if pictures.images.shape[1] < 2:
                continue
            seen = features(judges.dino, pictures)
            tables = {"dino": 1 - seen @ seen.swapaxes(1, 2)}
            if judges.lpips:
                tables["lpips"] = np.stack([_table(judges.lpips, row) for row in pictures.images])
            for kind, table in tables.items():
                means = to_others(table).mean(axis=2)
                found[f"{name}.{kind}"] = Score.of(pictures.templates, means)
        return found

    def convention(self, judges: Judges) -> str:
        """The networks and what they are fed."""
        distance = judges.lpips.name if judges.lpips else "no LPIPS"
        return f"1 - cosine by {told(judges.dino)}; {distance}"


def _sets(evidence: Evidence) -> dict[str, PictureSet]:
    sets = dict(evidence.subject)
    if tuned := evidence.others.get("class"):
        sets["class"] = tuned
    if base := evidence.untouched.get("class"):
        sets["class.base"] = base
    return sets


def _table(distance: Distance, pictures: Pixels) -> np.ndarray:
    """Distances [N, N] of all pairs; each is measured once."""
    count = len(pictures)
    table = np.zeros((count, count))
    for index in range(count - 1):
        later = pictures[index + 1 :]
        one = np.broadcast_to(pictures[index], later.shape)
        table[index, index + 1 :] = distance.between(one, later).numpy()
    return table + table.T
