"""Settings that somebody gave and that do nothing where the others are as they are."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from rarebooth.catalogue import entry
from rarebooth.settings import Resolved

GIVEN = frozenset({"flag", "environment", "file"})
"""Origins of a setting that somebody chose; presets set what some methods leave unused."""


def idle(resolved: Resolved) -> list[str]:
    """A sentence for each setting that was given and has no effect."""
    return list(_idle(resolved))


def _idle(resolved: Resolved) -> Iterator[str]:
    method, train = resolved.method, resolved.train
    known = {setting.name: setting for setting in entry(method.name).settings}
    usual = {item.name: item.default for item in fields(method)}
    for item in fields(method):
        where = item.metadata["where"]
        given = resolved.origin.get(item.name) in GIVEN
        if given and not all(
            _holds(value, getattr(method, name), usual[name]) for name, value in where.items()
        ):
            setting = known[item.name]
            yield f"{setting.flag} has no effect here: it counts {setting.only}."
    steps = method.lengths()[method.stages[-1]]
    alone = steps is not None and steps <= train.checkpoint_every
    if alone and resolved.origin.get("choose") in GIVEN:
        yield "--choose has no effect here: the run leaves one checkpoint to choose from."


def _holds(wanted: Any, found: Any, usual: Any) -> bool:  # noqa: ANN401  settings of any type
    """Whether a condition is met, as the catalogue words it.

    A number stands for any but 0; a word for itself where it is the default, else for any but that.
    """
    if isinstance(wanted, int | float):
        return bool(wanted) == bool(found)
    return found == wanted if wanted == usual else found != usual
