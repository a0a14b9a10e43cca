"""Settings that somebody gave and that do nothing where the others are as they are."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from rarebooth.catalogue import shown
from rarebooth.method import Method
from rarebooth.settings import Resolved

GIVEN = frozenset({"flag", "environment", "file"})
"""Origins of a setting that somebody chose; presets set what some methods leave unused."""


def idle(resolved: Resolved) -> list[str]:
    """A sentence for each setting that was given and has no effect."""
    return list(_idle(resolved))


def _idle(resolved: Resolved) -> Iterator[str]:
    method = resolved.method
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
    for stage, name in _of_stages_left_out(method):
        if resolved.origin.get(name) in GIVEN:
            flag = f"--{name.replace('_', '-')}"
            yield f"{flag} has no effect here: --{stage}-steps is 0."
    yield from (f"--{name} has no effect here: {why}." for name, why in _run_idle(resolved))


def _run_idle(resolved: Resolved) -> Iterator[tuple[str, str]]:
    """The settings of the run itself that do nothing, as flags without their dashes, and why."""
    method, train = resolved.method, resolved.train
    steps = method.lengths()[method.stages[-1]]
    if resolved.origin.get("choose") in GIVEN:
        if steps is not None and steps <= train.checkpoint_every:
            yield "choose", "the run leaves one checkpoint to choose from"
        elif "," in train.noun and train.choose != "last":
            yield "choose", "of several subjects, it is always the last checkpoint"
    if resolved.origin.get("patience") in GIVEN and train.patience and steps is not None:
        probes = (steps - 1) // train.probe_every
        if probes <= train.patience:
            yield "patience", f"only {probes} probes come before the end of the run"
    largest = max((getattr(method, name) for name in _batches(method)), default=1)
    alone = largest == 1 and not method.prior_images
    if resolved.origin.get("split_batches") in GIVEN and train.split_batches and alone:
        yield "split-batches", "a batch of 1 cannot be split"
    if resolved.origin.get("gradient_checkpointing") in GIVEN and train.low_memory:
        yield "gradient-checkpointing", "--low-memory does it in any case"


def _of_stages_left_out(method: Method) -> Iterator[tuple[str, str]]:
    """Stages that have no steps, each with the names of its other settings."""
    for stage, length in method.lengths().items():
        for item in fields(method):
            if length == 0 and item.name.startswith(f"{stage}_") and item.name != f"{stage}_steps":
                yield stage, item.name


def _batches(method: Method) -> Iterator[str]:
    names = ("batch", *(f"{stage}_batch" for stage, length in method.lengths().items() if length))
    return (name for name in names if hasattr(method, name))


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
