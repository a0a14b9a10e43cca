"""The key numbers of a page: which scores they are, and which way is better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rarebooth import metrics
from rarebooth.metric import Metric
from rarebooth.report.view import RunView


@dataclass(frozen=True)
class Figure:
    """A score as a page names it.

    ``miniature``: whether it is the miniature world's alone; a table names any other as missing.
    """

    label: str
    metric: str
    of: str
    meaning: str
    miniature: bool = False


FIGURES: Final = (
    Figure("CLIP-I", "clip_i", "diverse", "CLIP cosine of pictures to the photos"),
    Figure("DINO", "dino", "diverse", "DINO cosine of pictures to the photos"),
    Figure("CLIP-T", "clip_t", "diverse", "CLIP cosine of pictures to their prompts"),
    Figure("PRES change", "pres", "class.change", "how much nearer the class came to the photos"),
    Figure("Class drift", "drift", "class", "how far pictures of the class moved from the base's"),
    Figure("Unrelated drift", "drift", "unrelated", "how far pictures of other prompts moved"),
    Figure("DIV", "div", "simple.dino", "distance of pictures of one prompt from one another"),
    Figure("Copies", "copying", "diverse.above", "share nearer to a photo than any two photos are"),
    Figure(
        "Placed",
        "placed",
        "diverse",
        "colours, from other toys (0) to the subject (1)",
        miniature=True,
    ),
    Figure(
        "Following", "following", "diverse", "share that shows what is asked for", miniature=True
    ),
    Figure(
        "Entanglement", "entanglement", "diverse", "colour error that scenes add", miniature=True
    ),
)


def measured(runs: Sequence[RunView]) -> list[Figure]:
    """The figures that at least one checkpoint of these runs has."""
    return [
        figure
        for figure in FIGURES
        if any(
            run.value(name, figure.metric, figure.of) is not None
            for run in runs
            for name in run.checkpoints
        )
    ]


def columns(runs: Sequence[RunView]) -> list[Figure]:
    """The figures that a table of these runs has a column for."""
    there = measured(runs)
    return [figure for figure in FIGURES if not figure.miniature or figure in there]


def heading(figure: Figure, metric: Metric) -> str:
    """A column's heading, with an arrow to where it is better."""
    arrow = {"higher": " ↑", "lower": " ↓", None: ""}[metric.better]
    return f'<span class="unbroken">{figure.label}{arrow}</span>'


def known() -> Mapping[str, Metric]:
    """The metrics by name."""
    return {metric.name: metric for metric in metrics.every()}


def best(values: Sequence[float | None], better: str | None) -> float | None:
    """The best of some values, or None where there are not two to compare, or none is better."""
    there = [value for value in values if value is not None]
    if len(there) < 2 or better is None:
        return None
    return max(there) if better == "higher" else min(there)
