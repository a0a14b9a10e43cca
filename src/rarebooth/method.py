"""The contract of a personalization method: its paper's settings and one ``fit``."""

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self, TypeVar

from rarebooth.base import Base, Session
from rarebooth.delta import Delta
from rarebooth.errors import SettingsError
from rarebooth.run import Run, Step
from rarebooth.subject import Subject
from rarebooth.tokens import canonical

T = TypeVar("T")


def setting(
    default: T,
    meaning: str,
    *,
    source: str,
    least: float | None = None,
    above: float | None = None,
    where: Mapping[str, Any] | None = None,
) -> T:
    """A method's setting: its default, what it means, where the default comes from, its range.

    ``least``: the smallest value allowed. ``above``: a value it must exceed. ``where``: values of
    other settings without which it has no effect.
    """
    details = {"meaning": meaning, "source": source, "least": least, "above": above}
    return field(default=default, metadata={**details, "where": where or {}})


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """What every method declares: a name, a paper, what it changes, and how it learns.

    Some settings mean the same in every method that has them. The word before the noun is
    ``token`` where it is new, ``identifier`` where the base knows it, and ``mark`` where it is
    never encoded; ``prompt`` is the training prompt with ``{}`` for the subject. ``<stage>_steps``
    and ``<stage>_batch`` are the updates of a stage and its photos an update, ``steps``, ``batch``
    and ``accumulate`` those of the last one; ``prior``: whether ``class_images`` are trained on.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    summary: ClassVar[str]
    changes: ClassVar[frozenset[str]]
    """The parts of a Delta it fills: "token", "steer" and names of the base's parts."""
    stages: ClassVar[tuple[str, ...]]
    """The names of its training stages, in order."""
    several: ClassVar[bool] = False
    """Whether it learns several subjects in one model."""

    @abstractmethod
    def fit(
        self, session: Session, subjects: Sequence[Subject], run: Run
    ) -> Generator[Step, None, Delta]:
        """Learn the subjects on a borrowed base; yields every step, returns what was learnt."""

    @property
    def trains(self) -> frozenset[str]:
        """The parts of ``changes`` that it fills with these settings."""
        return self.changes

    def trained(self, base: Base) -> int:
        """How many numbers of the base's weights it trains."""
        parts = self.trains - {"token", "steer"}
        return sum(weight.numel() for part in parts for weight in base.part(part).parameters())

    @property
    def new_word(self) -> str | None:
        """The word that is learnt, to stand before the noun; None where the method has none."""
        return getattr(self, "token", None)

    def phrases(self, nouns: Sequence[str]) -> tuple[str, ...]:
        """What the subjects of these nouns are called in a prompt."""
        names = ("token", "identifier", "mark")
        word = next((getattr(self, name) for name in names if hasattr(self, name)), "")
        return tuple(f"{word} {noun}".lstrip() for noun in nouns)

    def lengths(self) -> Mapping[str, int | None]:
        """Updates of every stage, in order; None for a stage whose settings do not say."""
        named = {stage: getattr(self, f"{stage}_steps", None) for stage in self.stages}
        last = self.stages[-1]
        return named if named[last] is not None else {**named, last: getattr(self, "steps", None)}

    def shortened(self, most: int, last: int | None = None) -> Self:
        """The same method with at most so many updates a stage, the ``last`` in the last one."""
        fewer: dict[str, Any] = {}
        for stage, length in self.lengths().items():
            own = f"{stage}_steps"
            here = most if last is None or stage != self.stages[-1] else last
            steps = here if length is None else min(here, length)
            fewer[own if hasattr(self, own) else "steps"] = steps
        return replace(self, **fewer)

    @property
    def prior_images(self) -> int:
        """How many images of each class are trained on beside the photos; 0 without a prior."""
        return getattr(self, "class_images", 0) if getattr(self, "prior", False) else 0

    @property
    def versions(self) -> int:
        """How many versions of each photo are encoded before the first step; 1 of it as it is."""
        return getattr(self, "variants", 1) if getattr(self, "augment", False) else 1

    def shown(self, subjects: Sequence[Subject]) -> list[str]:
        """The file of each picture that a batch counts, in order; class images come after these."""
        names = [photo.name for each in subjects for photo in each.photos]
        only: int | None = getattr(self, "photo", None)
        if only is not None:
            return [names[min(only, len(names)) - 1]]
        return [name for name in names for _ in range(self.versions)]

    def check_noun(self, noun: str) -> None:
        """Raise SettingsError unless the new word stands exactly once in the training prompt.

        A tokenizer finds a new word anywhere in a text, inside other words too, and in any case.
        """
        word, prompt = self.new_word, getattr(self, "prompt", "{}")
        if word is None:
            return
        if word.lower() in noun.lower():
            raise SettingsError(
                f"The class noun {noun!r} holds {word!r}, the word that is to be learnt; give only "
                "the noun, such as dog, or choose another word with --token."
            )
        filled = prompt.replace("{}", f"{word} {noun}")
        times = filled.lower().count(word.lower())
        if times != 1:
            raise SettingsError(
                f"The prompt {prompt!r} names the word {word!r} {times} times once it is filled: "
                f"{filled!r}. It must hold {{}} once, and the word nowhere else."
            )

    def check(self) -> None:
        """Raise SettingsError for values out of range, prompts without ``{}``, aliases as token."""
        word = self.new_word
        if word is not None and canonical(word) != word:
            raise SettingsError(
                f"token is {word!r}, which prompts read as {canonical(word)!r}. Give that, as in "
                f"--token '{canonical(word)}'."
            )
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
