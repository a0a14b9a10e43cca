"""CLIP-I: how much pictures look like the photos to CLIP."""

from rarebooth.metric import Evidence, Judges, Metric, Score
from rarebooth.metrics.pairs import likeness, told


class ClipI(Metric):
    """Mean cosine to all photos; "real" is that of photos to one another, a ceiling."""

    name = "clip_i"
    meaning = "mean CLIP cosine of pictures to the photos"
    better = "higher"
    source = "Gal et al. 2022, section 5.1; Ruiz et al. 2023, section 4.1"

    def score(self, evidence: Evidence) -> dict[str, Score]:
        """Scores by protocol, those of DreamBench also by the kind of prompt, and "real"."""
        return likeness(evidence.judges.clip, evidence)

    def convention(self, judges: Judges) -> str:
        """The CLIP and what it is fed."""
        return told(judges.clip)
