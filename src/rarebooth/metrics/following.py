"""Following: whether pictures show what their prompt asks for, read in the miniature world."""

from typing import NamedTuple

import numpy as np

from rarebooth.metric import Evidence, Judges, Metric, Score
from rarebooth.metrics.asked import asked
from rarebooth.world.colours import PALETTE
from rarebooth.world.toys import TOYS


class Wanted(NamedTuple):
    """What a prompt asks for beside the class.

    ``row``: "context", "property" or "accessory"; ``question`` and ``answer``: what a reader must
    find.
    """

    row: str
    question: str
    answer: str


def wanted(template: str) -> Wanted:
    """What one of DreamBench's prompts asks for.

    The properties "red" and "purple" are read as colours: a caption cannot tell a toy that is red
    by nature from one that was made red.

    Raises:
        SettingsError: a scene that the world does not draw.
    """
    scene = asked(template)
    if scene.quality is not None:
        question = "colour" if scene.quality in PALETTE else "property"
        return Wanted("property", question, scene.quality)
    if scene.outfit is not None:
        return Wanted("accessory", "accessory", scene.outfit)
    return Wanted("context", "context", scene.place)


class Following(Metric):
    """The share of pictures in which a reader finds what the prompt asks for beside the class."""

    name = "following"
    meaning = "share of pictures that show the context, property or accessory asked for"
    better = "higher"
    source = "rarebooth; what CLIP-T stands for where nothing better can be had"

    def score(self, evidence: Evidence) -> dict[str, Score]:
        """Scores of the diverse prompts: all, by what they ask for, and of the class itself."""
        pictures, reader = evidence.subject.get("diverse"), evidence.judges.reader
        if pictures is None or reader is None:
            return {}
        shape = pictures.images.shape[:2]
        read = {
            question: np.array(answers).reshape(shape)
            for question, answers in reader.read(pictures.flat).items()
        }
        wants = [wanted(template) for template in pictures.templates]
        right = np.stack(
            [read[want.question][row] == want.answer for row, want in enumerate(wants)]
        ).astype(float)
        found = {"diverse": Score.of(pictures.templates, right)}
        if evidence.noun in TOYS:
            shown = (read["class"] == evidence.noun).astype(float)
            found["diverse.class"] = Score.of(pictures.templates, shown)
        for part in ("context", "property", "accessory"):
            rows = [row for row, want in enumerate(wants) if want.row == part]
            if rows:
                kept = tuple(pictures.templates[row] for row in rows)
                found[f"diverse.{part}"] = Score.of(kept, right[rows])
        return found

    def convention(self, judges: Judges) -> str:
        """Who reads."""
        return judges.reader.name if judges.reader else "no reader of the miniature world"
