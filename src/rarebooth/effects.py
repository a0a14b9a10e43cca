"""Settings that somebody gave and that do nothing where the others are as they are."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from rarebooth.catalogue import shown
from rarebooth.settings import Resolved

GIVEN = frozenset({"flag", "environment", "file"})
"""Origins of a setting that somebody chose; presets set what some methods leave unused."""


def idle(resolved: Resolved) -> list[str]:
    """A sentence for each setting that was given and has no effect."""
    return list(_idle(resolved))


def _idle(resolved: Resolved) -> Iterator[str]:
    method, train = resolved.method, resolved.train
    usual = {item.name: item.default for item in fields(method)}
    for item in fields(method):
        if resolved.origin.get(item.name) not in GIVEN:
            continue
        unmet = [
            condition
            for other, wanted in item.metadata["where"].items()
            if (condition := _unmet(other, wanted, getattr(method, other), usual[other]))
        ]
        if unmet:
            flag = f"--{item.name.replace('_', '-')}"
            yield f"{flag} has no effect here: it counts only where {' and '.join(unmet)}."
    steps = method.lengths()[method.stages[-1]]
    alone = steps is not None and steps <= train.checkpoint_every
    if alone and resolved.origin.get("choose") in GIVEN:
        yield "--choose has no effect here: the run leaves one checkpoint to choose from."


def _unmet(name: str, wanted: Any, found: Any, usual: Any) -> str:  # noqa: ANN401
    """The condition in words where it is not met, else "".

    A switch stands for itself and a number for any but 0; a word for itself where it is the
    default, else for any but that.
    """
    if isinstance(wanted, bool):
        return "" if found == wanted else f"{name} is {shown(wanted)}"
    if isinstance(wanted, int | float):
        return "" if found else f"{name} is not 0"
    if wanted == usual:
        return "" if found == wanted else f"{name} is {shown(wanted)}"
    return "" if found != usual else f"{name} is not {shown(usual)}"
