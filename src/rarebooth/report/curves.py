"""Scores over checkpoints, and likeness against prompt-following."""

from collections.abc import Sequence

from rarebooth.report.chart import Series, chart
from rarebooth.report.estimates import band, front
from rarebooth.report.figures import Figure, known, measured
from rarebooth.report.markup import Part
from rarebooth.report.view import RunView


def curves(runs: Sequence[RunView]) -> Part:
    """One chart a figure, one line a run."""
    metrics = known()
    drawn = [
        chart(_title(figure, metrics[figure.metric].better), "step of training", lines)
        for figure in measured(runs)
        if (lines := [line for run in runs if (line := _line(run, figure)).points])
    ]
    return Part(
        "Scores by checkpoint",
        "Bands hold 95 % of the means that other prompts would give (bootstrap over prompts), of "
        "each point by itself: checkpoints share prompts and seeds, so that a difference can be "
        "sure where bands overlap. A ring marks the recommended one.",
        f'<div class="charts">{"".join(drawn)}</div>' if drawn else None,
        () if drawn else ("no scores by step of training.",),
    )


def _title(figure: Figure, better: str | None) -> str:
    return figure.label if better is None else f"{figure.label}, {better} is better"


def tradeoff(runs: Sequence[RunView]) -> Part:
    """CLIP-T across, DINO up; a point a checkpoint."""
    series: list[Series] = []
    for run in runs:
        points = {
            name: (following, likeness)
            for name in run.checkpoints
            if (following := run.value(name, "clip_t", "diverse")) is not None
            and (likeness := run.value(name, "dino", "diverse")) is not None
        }
        if points:
            names, places = list(points), list(points.values())
            series.append(
                Series(
                    run.name,
                    places,
                    labels=names,
                    line=False,
                    ringed=_index(names, run.recommended),
                )
            )
    every = [point for each in series for point in each.points]
    drawn = chart(
        "DINO against CLIP-T",
        "CLIP-T, diverse prompts: prompts are followed →",
        series,
        up="↑ DINO, diverse prompts: looks like the subject",
        stairs=[every[n] for n in front(every)],
    ) if series else None  # fmt: skip
    return Part(
        "Likeness against prompt-following",
        "Up and to the right is better; no checkpoint beats those on the dashed Pareto line in one "
        "without losing in the other.",
        drawn and f'<div class="wide">{drawn}</div>',
        () if series else ("no checkpoint with both DINO and CLIP-T of the diverse prompts.",),
    )


def _line(run: RunView, figure: Figure) -> Series:
    """Ends of stages have no place among the steps of the last stage: tables alone hold them."""
    names: list[str] = []
    points: list[tuple[float, float]] = []
    bands: list[tuple[float, float, float]] = []
    for name in run.checkpoints:
        value = run.value(name, figure.metric, figure.of)
        if value is None or not name.isdecimal():
            continue
        names.append(name)
        points.append((int(name), value))
        ends = band(list(run.prompts(name, figure.metric, figure.of).values()))
        if ends is not None:
            bands.append((int(name), *ends))
    return Series(run.name, points, band=bands, ringed=_index(names, run.recommended))


def _index(names: Sequence[str], wanted: str | None) -> int | None:
    return names.index(wanted) if wanted in names else None
