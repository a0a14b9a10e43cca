"""Measures of pictures against what they should show: one file each and one line here."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rarebooth.metric import Metric

TABLE = {
    "clip_i": "rarebooth.metrics.clip_i:ClipI",
    "dino": "rarebooth.metrics.dino:Dino",
    "clip_t": "rarebooth.metrics.clip_t:ClipT",
    "pres": "rarebooth.metrics.pres:Preservation",
    "div": "rarebooth.metrics.div:Diversity",
    "drift": "rarebooth.metrics.drift:Drift",
    "class_quality": "rarebooth.metrics.class_quality:ClassQuality",
    "sharpness": "rarebooth.metrics.sharp:Sharpness",
    "copying": "rarebooth.metrics.copying:Copying",
    "placed": "rarebooth.metrics.placed:Placed",
    "following": "rarebooth.metrics.following:Following",
    "entanglement": "rarebooth.metrics.entanglement:Entanglement",
}
"""Name -> "module:Class", in the order of tables; loaded on first use."""


def every() -> "list[Metric]":
    """All metrics, in the order of tables."""
    found: list[Metric] = []
    for place in TABLE.values():
        module, _, attribute = place.partition(":")
        found.append(getattr(import_module(module), attribute)())
    return found
