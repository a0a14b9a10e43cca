"""Copying: whether pictures are photos over again, which likeness would praise."""

from rarebooth.metric import Evidence, Judges, Metric, Score
from rarebooth.metrics.pairs import among, to_photos, told


class Copying(Metric):
    """Cosine to the nearest photo, beside how near photos are to one another.

    "real": the mean of photos to their nearest other. ".above": the share of pictures that are
    nearer to a photo than any two photos are, the mark of a copy.
    """

    name = "copying"
    meaning = "DINO cosine of pictures to the nearest photo"
    better = "lower"
    source = "nearest training picture: Somepalli et al. 2023; bound by real pairs: rarebooth"

    def score(self, evidence: Evidence) -> dict[str, Score]:
        """Scores by protocol; "real" and the shares need two photos."""
        judge = evidence.judges.dino
        photos = evidence.photos if evidence.learnt is None else evidence.learnt
        real = among(judge, photos) if len(photos) > 1 else None
        found: dict[str, Score] = {}
        for name, pictures in evidence.subject.items():
            nearest = to_photos(judge, pictures, photos).max(axis=2)
            found[name] = Score.of(pictures.templates, nearest)
            if real is not None:
                above = (nearest > real.max()).astype(float)
                found[f"{name}.above"] = Score.of(pictures.templates, above)
        if real is not None:
            found["real"] = Score(float(real.max(axis=1).mean()))
        return found

    def convention(self, judges: Judges) -> str:
        """The DINO and what it is fed."""
        return told(judges.dino)
