"""CLIP-T: how well pictures show what their prompts say."""

import numpy as np

from rarebooth.metric import Evidence, Judges, Metric, PictureSet, Score
from rarebooth.metrics.pairs import features, split, told


class ClipT(Metric):
    """Cosine of a picture and its prompt, in which the class noun stands for the subject.

    Papers differ: some score the prompt with the learnt word, which says nothing to CLIP, and some
    with no noun at all.
    """

    name = "clip_t"
    meaning = "CLIP cosine of pictures to their prompts, without the learnt word"
    better = "higher"
    source = "Ruiz et al. 2023, section 4.1"

    def score(self, evidence: Evidence) -> dict[str, Score]:
        """Scores by protocol; what does not name the subject, also of the base (".base")."""
        sets = {
            **evidence.subject,
            **evidence.others,
            **{f"{name}.base": pictures for name, pictures in evidence.untouched.items()},
        }
        found: dict[str, Score] = {}
        for name, pictures in sets.items():
            found |= split(name, pictures.templates, _cosines(pictures, evidence))
        return found

    def convention(self, judges: Judges) -> str:
        """The CLIP, what it is fed, and what is left of a prompt."""
        return f"{told(judges.clip)}; prompts with the class noun and without the learnt word"


def _cosines(pictures: PictureSet, evidence: Evidence) -> np.ndarray:
    """[P, N]."""
    clip = evidence.judges.clip
    texts = clip.texts(pictures.asking(evidence.noun)).numpy()
    return (features(clip, pictures) @ texts[:, :, None])[..., 0]
