"""Class quality: whether the plain class is still drawn as well as the base drew it."""

import math

from rarebooth.metric import Evidence, Judges, Metric, Score
from rarebooth.metrics.frechet import frechet_distance
from rarebooth.metrics.kid import kernel_distance
from rarebooth.metrics.pairs import told


class ClassQuality(Metric):
    """Distances of the tuned model's class pictures, as a whole, to the base's.

    The Fréchet distance comes out too large with few pictures, above all with fewer than a feature
    has numbers: compare it between equal counts alone. The kernel distance has no such bias.
    """

    name = "class_quality"
    meaning = "distance of the class's pictures, as a whole, to those of the untouched base"
    better = "lower"
    source = "Heusel et al. 2017; Binkowski et al. 2018; asked in Zeng et al. 2024, figure 4"

    def score(self, evidence: Evidence) -> dict[str, Score]:
        """Both distances of the class; none of fewer than two pictures."""
        tuned, base = evidence.others.get("class"), evidence.untouched.get("class")
        if tuned is None or base is None or len(tuned.flat) < 2:
            return {}
        now, before = (evidence.judges.dino.images(each.flat) for each in (tuned, base))
        # The kernel is made for features whose entries are about one, not whose length is.
        scale = math.sqrt(now.shape[1])
        return {
            "class.frechet": Score(frechet_distance(now, before)),
            "class.kid": Score(kernel_distance(now * scale, before * scale)),
        }

    def convention(self, judges: Judges) -> str:
        """The DINO and what it is fed."""
        return f"{told(judges.dino)}; kernel (cosine + 1)^3"
