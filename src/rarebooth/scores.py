"""Scores as plain data: what ``scores.json`` and benchmark records hold of one checkpoint.

``{metric: {of: {"value": float, "prompts": {template: float}}}}``; numbers are rounded to
``DIGITS`` digits after the point, so that files are small and do not tell noise.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from rarebooth import metrics
from rarebooth.metric import Evidence, Judges

Plain: TypeAlias = dict[str, dict[str, dict[str, Any]]]

DIGITS = 4


def score(evidence: Evidence) -> Plain:
    """Every metric's scores of some evidence, as plain data."""
    found: Plain = {}
    for metric in metrics.every():
        scores = metric.score(evidence)
        if not scores:
            continue
        found[metric.name] = {
            of: {
                "value": _rounded(each.value),
                **({"prompts": _prompts(each.prompts)} if each.prompts else {}),
            }
            for of, each in scores.items()
        }
    return found


def conventions(judges: Judges) -> dict[str, str]:
    """What the numbers of each metric rest on."""
    return {metric.name: metric.convention(judges) for metric in metrics.every()}


def value(scores: Mapping[str, Any], metric: str, of: str) -> float | None:
    """One number, or None where it is missing or was not finite."""
    return scores.get(metric, {}).get(of, {}).get("value")


def _prompts(prompts: Mapping[str, float]) -> dict[str, float | None]:
    return {template: _rounded(number) for template, number in prompts.items()}


def _rounded(number: float) -> float | None:
    return round(number, DIGITS) if math.isfinite(number) else None
