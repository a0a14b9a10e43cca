"""What the tables of a benchmark show of the scores: their columns, and what these are held to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from rarebooth import metrics, scores


@dataclass(frozen=True)
class Measure:
    """A score that is a column: ``metric`` and what it is ``of``, as records call them.

    ``called``: by tables. ``better``: where it is not as the metric says; None for neither.
    """

    metric: str
    of: str
    called: str
    better: Literal["higher", "lower", "as the metric"] | None = "as the metric"

    @property
    def name(self) -> str:
        """By it results are told apart."""
        return f"{self.metric} {self.of}"

    def value(self, scored: Mapping[str, Any]) -> float | None:
        """The number of one checkpoint's scores; None where there is none."""
        return scores.value(scored, self.metric, self.of)


LIKENESS: Final = (
    Measure("clip_i", "diverse", "CLIP-I, diverse"),
    Measure("dino", "diverse", "DINO, diverse"),
    Measure("clip_i", "simple", "CLIP-I, simple"),
    Measure("dino", "simple", "DINO, simple"),
)
"""Zeng et al. 2024, table 1."""

SCENES: Final = (
    Measure("clip_i", "diverse.scenes", "CLIP-I, scenes"),
    Measure("dino", "diverse.scenes", "DINO, scenes"),
    Measure("clip_t", "diverse.scenes", "CLIP-T, scenes"),
    Measure("placed", "diverse.scenes", "true colours, scenes"),
    Measure("following", "diverse.context", "place is shown"),
    Measure("following", "diverse.accessory", "outfit is shown"),
)
"""The diverse prompts without those of a property; of cats and dogs half are outfits, which hide
some of what tells one from another.
"""

BESIDE: Final = (
    Measure("clip_t", "diverse", "CLIP-T, diverse"),
    Measure("following", "diverse", "prompt is shown, diverse"),
    Measure("placed", "diverse", "true colours, diverse"),
    Measure("placed", "simple", "true colours, simple"),
    Measure("entanglement", "diverse", "colour error that scenes add"),
    Measure("pres", "class.change", "class came nearer to the photos"),
    Measure("drift", "class", "class moved"),
    Measure("drift", "unrelated", "other classes moved"),
    Measure("div", "diverse.dino", "diversity, diverse"),
    Measure("div", "simple.dino", "diversity, simple"),
    Measure("div", "diverse.lpips", "diversity, diverse, LPIPS"),
    Measure("div", "simple.lpips", "diversity, simple, LPIPS"),
)

PROPERTIES: Final = (
    Measure("clip_i", "diverse.properties", "CLIP-I, properties"),
    Measure("dino", "diverse.properties", "DINO, properties"),
    Measure("clip_t", "diverse.properties", "CLIP-T, properties"),
    Measure("placed", "diverse.properties", "true colours, properties"),
    Measure("following", "diverse.property", "property is shown"),
)
"""Prompts that contradict the photos, such as "a red {}": likeness falls where they are obeyed."""

CLASS: Final = (
    Measure("pres", "class", "class is like the photos"),
    Measure("clip_t", "class", "CLIP-T, class"),
    Measure("clip_t", "unrelated", "CLIP-T, other classes"),
    Measure("div", "class.dino", "diversity, class"),
    Measure("div", "class.lpips", "diversity, class, LPIPS"),
    Measure("drift", "class.lpips", "class moved, LPIPS"),
    Measure("drift", "unrelated.lpips", "other classes moved, LPIPS"),
    Measure("class_quality", "class.kid", "kernel distance of the class"),
    Measure("class_quality", "class.frechet", "Fréchet distance of the class"),
    Measure("sharpness", "class", "sharpness of the class is off"),
    Measure("placed", "class.leak", "subject's colours in the class", "lower"),
    Measure("drift", "unrelated.class_lost", "other classes lost"),
)
"""What became of the class and of others: pictures that do not name the subject."""

PICTURES: Final = (
    Measure("copying", "diverse", "nearest photo, diverse"),
    Measure("copying", "diverse.above", "copies, diverse"),
    Measure("copying", "simple", "nearest photo, simple"),
    Measure("copying", "simple.above", "copies, simple"),
    Measure("sharpness", "diverse", "sharpness is off, diverse"),
    Measure("sharpness", "simple", "sharpness is off, simple"),
    Measure("sharpness", "simple.ratio", "sharpness, simple, of the photos'", None),
    Measure("entanglement", "diverse.error", "colour error, scenes", "lower"),
    Measure("entanglement", "simple.error", "colour error, simple", "lower"),
)
"""What pictures of the subject are beside like it."""

GROUPS: Final = {
    "Likeness": LIKENESS,
    "Scenes, without prompts that ask for a property": SCENES,
    "Beside likeness": BESIDE,
    "Prompts that ask for a property": PROPERTIES,
    "The class and others": CLASS,
    "Copies, sharpness, colours": PICTURES,
}
"""The tables, by their headings."""

ALL: Final = tuple(measure for group in GROUPS.values() for measure in group)

REFERENCES: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "photos among themselves": {
        "clip_i diverse": ("clip_i", "real"),
        "dino diverse": ("dino", "real"),
        "clip_i simple": ("clip_i", "real"),
        "dino simple": ("dino", "real"),
        "copying diverse": ("copying", "real"),
        "copying simple": ("copying", "real"),
    },
    "true renders": {"entanglement diverse": ("entanglement", "diverse.ceiling")},
    "the base, untrained": {
        "pres class": ("pres", "class.base"),
        "clip_t class": ("clip_t", "class.base"),
        "clip_t unrelated": ("clip_t", "unrelated.base"),
        "div class.dino": ("div", "class.base.dino"),
        "div class.lpips": ("div", "class.base.lpips"),
    },
}
"""Rows that no training made, and the score that stands in each of a measure's columns."""


def called(name: str) -> str:
    """What tables call the measure of a name."""
    return next(each.called for each in ALL if each.name == name)


def arrows() -> dict[str, str]:
    """A sign by a measure's name that says which way is better; "" where neither is."""
    signs = {"higher": " ↑", "lower": " ↓", None: ""}
    of_metrics = {metric.name: metric.better for metric in metrics.every()}
    return {
        each.name: signs[of_metrics[each.metric] if each.better == "as the metric" else each.better]
        for each in ALL
    }


def references(scored: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """One subject's numbers of every row of ``REFERENCES``, by measure; of some scores the first.

    They do not depend on what was learnt, only on how many pictures an entry draws.
    """
    found: dict[str, dict[str, float]] = {}
    for each in scored:
        for row, columns in REFERENCES.items():
            for name, where in columns.items():
                value = scores.value(each, *where)
                if value is not None:
                    found.setdefault(row, {}).setdefault(name, value)
    return found
