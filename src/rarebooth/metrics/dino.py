"""DINO: how much pictures look like the photos to a network that tells individuals apart."""

from rarebooth.metric import Evidence, Judges, Metric, Score
from rarebooth.metrics.pairs import likeness, told


class Dino(Metric):
    """Mean cosine to all photos; "real" is that of photos to one another, a ceiling."""

    name = "dino"
    meaning = "mean DINO cosine of pictures to the photos"
    better = "higher"
    source = "Ruiz et al. 2023, section 4.1"

    def score(self, evidence: Evidence) -> dict[str, Score]:
        """Scores by protocol, those of DreamBench also by the kind of prompt, and "real"."""
        return likeness(evidence.judges.dino, evidence)

    def convention(self, judges: Judges) -> str:
        """The DINO and what it is fed."""
        return told(judges.dino)
