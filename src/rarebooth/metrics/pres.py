"""PRES: whether the plain class has come to look like the subject."""

from rarebooth.metric import Evidence, Judges, Metric, Score
from rarebooth.metrics.pairs import to_photos, told


class Preservation(Metric):
    """Mean cosine of pictures of the plain class to the subject's photos.

    Some of it is there before training, since the subject is of its class: what the model lost is
    "class.change", with the same seeds.
    """

    name = "pres"
    meaning = "mean DINO cosine of the plain class to the subject's photos"
    better = "lower"
    source = "Ruiz et al. 2023, section 4.3"

    def score(self, evidence: Evidence) -> dict[str, Score]:
        """Scores of the tuned model, of the base, and their difference."""
        dino, photos = evidence.judges.dino, evidence.photos
        found: dict[str, Score] = {}
        if tuned := evidence.others.get("class"):
            now = to_photos(dino, tuned, photos).mean(axis=2)
            found["class"] = Score.of(tuned.templates, now)
            if base := evidence.untouched.get("class"):
                before = to_photos(dino, base, photos).mean(axis=2)
                found["class.base"] = Score.of(base.templates, before)
                found["class.change"] = Score.of(tuned.templates, now - before)
        return found

    def convention(self, judges: Judges) -> str:
        """The DINO and what it is fed."""
        return told(judges.dino)
