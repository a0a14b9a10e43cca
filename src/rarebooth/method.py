"""The contract of a personalization method: its paper's settings and one ``fit``."""

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from rarebooth.base import Session
from rarebooth.delta import Delta
from rarebooth.errors import SettingsError
from rarebooth.run import Run, Step
from rarebooth.subject import Subject

T = TypeVar("T")


def setting(
    default: T, meaning: str, *, source: str, least: float | None = None, above: float | None = None
) -> T:
    """A method's setting: its default, what it means, where the default comes from, its range.

    ``least``: the smallest value allowed. ``above``: a value it must exceed.
    """
    details = {"meaning": meaning, "source": source, "least": least, "above": above}
    return field(default=default, metadata=details)


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """What every method declares: a name, a paper, what it changes, and how it learns."""

    name: ClassVar[str]
    paper: ClassVar[str]
    summary: ClassVar[str]
    changes: ClassVar[frozenset[str]]
    """The parts of a Delta it fills: "token" and names of the base's parts."""
    stages: ClassVar[tuple[str, ...]]
    """The names of its training stages, in order."""

    @abstractmethod
    def fit(
        self, session: Session, subjects: Sequence[Subject], run: Run
    ) -> Generator[Step, None, Delta]:
        """Learn the subjects on a borrowed base; yields every step, returns what was learnt."""

    def check(self) -> None:
        """Raise SettingsError for a setting outside its range, or a prompt without ``{}``."""
        prompt = getattr(self, "prompt", "{}")
        if "{}" not in prompt:
            raise SettingsError(
                f"prompt is {prompt!r}; it must hold {{}} where the subject stands, as in "
                '"a photo of {}".'
            )
        for item in fields(self):
            value: Any = getattr(self, item.name)
            least, above = item.metadata["least"], item.metadata["above"]
            if isinstance(value, float) and not math.isfinite(value):
                raise SettingsError(f"{item.name} is {value}; it must be a finite number.")
            if least is not None and not value >= least:
                raise SettingsError(f"{item.name} is {value}; it must be at least {least:g}.")
            if above is not None and not value > above:
                raise SettingsError(f"{item.name} is {value}; it must be greater than {above:g}.")


def one_subject(method: str, subjects: Sequence[Subject]) -> Subject:
    """The only subject, for methods that are defined for one; SettingsError otherwise."""
    if len(subjects) != 1:
        raise SettingsError(
            f"{method} learns one subject at a time and was given {len(subjects)}. Train them one "
            "by one."
        )
    return subjects[0]
