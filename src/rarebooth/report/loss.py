"""The losses of training, and its probe."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rarebooth.report.chart import Point, Series, chart
from rarebooth.report.estimates import smooth
from rarebooth.report.markup import Part, by_run
from rarebooth.report.view import RunView

BUCKET: Final = 250
"""Timesteps that are averaged together: a quarter of a usual process of 1000."""


def loss(runs: Sequence[RunView]) -> Part:
    """By stage: every step's loss and its smoothed course, by timestep, and the probe."""
    body, absent = by_run(runs, _loss, "no losses.")
    return Part(
        "Loss",
        "Loss alone tells little: it depends above all on the timesteps and noise that were drawn, "
        "so a flat curve may learn well and a falling one may overfit; the probe has fixed noise "
        "and can be compared from step to step.",
        body,
        absent,
    )


def _loss(run: RunView) -> str | None:
    stages = dict.fromkeys(line["stage"] for line in run.losses)
    charts = [
        each
        for stage in stages
        for each in _stage(stage, [line for line in run.losses if line["stage"] == stage])
    ]
    return f'<div class="charts">{"".join(charts)}</div>' if charts else None


def _stage(stage: str, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    found: list[str] = []
    dots = [(line["step"], line["loss"]) for line in lines if line.get("loss") is not None]
    if dots:
        course = Series("smoothed", _smoothed(dots), dots=dots, marks=False)
        found.append(chart(f"Loss of stage {stage}: steps and their moving mean", "step", [course]))
    buckets = _buckets(lines)
    if buckets:
        found.append(
            chart(
                f"Loss of stage {stage} by timestep, smoothed",
                "step",
                [
                    Series(
                        f"timesteps {n * BUCKET} to {(n + 1) * BUCKET - 1}",
                        _smoothed(buckets[n]),
                        marks=False,
                    )
                    for n in sorted(buckets)
                ],
            )
        )
    probes = [(line["step"], line["probe"]) for line in lines if line.get("probe") is not None]
    if probes:
        lowest = min(range(len(probes)), key=lambda n: probes[n][1])
        found.append(
            chart(
                f"Probe in stage {stage}: loss on fixed noise, the lowest ringed",
                "step",
                [Series("probe", probes, ringed=lowest)],
            )
        )
    return found


def _buckets(lines: Sequence[Mapping[str, Any]]) -> dict[int, list[Point]]:
    """The losses of single samples by their timestep; runs of earlier versions have none."""
    found: dict[int, list[Point]] = {}
    for line in lines:
        samples = zip(line.get("timesteps", ()), line.get("losses", ()), strict=True)
        for timestep, value in samples:
            if value is not None:
                found.setdefault(timestep // BUCKET, []).append((line["step"], value))
    return found


def _smoothed(points: Sequence[Point]) -> list[Point]:
    steps, values = zip(*points, strict=True)
    return list(zip(steps, smooth(values), strict=True))
