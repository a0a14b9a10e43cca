"""What is known of every method, read from what it declares: for tables, for help, for the page.

Nothing is said of a method here: words and numbers are those of its own file.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rarebooth import defaults
from rarebooth.method import Method
from rarebooth.methods import find
from rarebooth.settings import preset_for

_PARTS = {"denoiser": "the U-Net", "text": "the text encoder"}
"""Parts of a base, in words."""


@dataclass(frozen=True)
class Stage:
    """What a training stage takes; None where the method's settings do not say.

    ``steps``: updates. ``photos``: shown before each of them. ``samples``: pictures that pass the
    denoiser with gradients in the whole stage, class images with them.
    """

    name: str
    steps: int | None
    photos: int | None
    samples: int | None


@dataclass(frozen=True)
class Cost:
    """What a training takes.

    ``samples``: those of all stages. ``class_images``: made before it, for every class noun.
    """

    stages: tuple[Stage, ...]
    samples: int | None
    class_images: int


@dataclass(frozen=True)
class Setting:
    """A setting of a method, in words.

    ``limits``: "at least 1", "one of object, style", or "". ``only``: "only
    where prior is on", or "". ``embedded``: what the embedded base's preset sets, or None.
    """

    name: str
    default: Any
    meaning: str
    source: str
    limits: str
    only: str
    embedded: Any

    @property
    def flag(self) -> str:
        """How the command line calls it: "--token-lr"."""
        return f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True)
class Entry:
    """Everything about a method, with its default settings.

    ``does``: what learning by it is, in a line. ``about``: paragraphs on the method and its source.
    ``trains``: the parts it trains, in words.
    """

    name: str
    paper: str
    summary: str
    does: str
    about: tuple[str, ...]
    trains: str
    cost: Cost
    settings: tuple[Setting, ...]

    @property
    def cited(self) -> str:
        """The paper's authors and year, or all that is known of it: "Gal et al. (ICLR 2023)"."""
        found = re.match(r"([^:]+): [^;]*?(\([^()]*\d{4}\))", self.paper)
        return f"{found[1]} {found[2]}" if found else self.paper

    @property
    def row(self) -> tuple[str, ...]:
        """Its line in a table under ``HEADINGS``."""
        stages = self.cost.stages
        return (
            self.name,
            self.trains,
            _sum_of(stage.steps for stage in stages),
            _sum_of(stage.photos for stage in stages),
            shown(self.cost.samples),
            shown(self.cost.class_images),
            self.cited,
        )


HEADINGS = ("method", "trains", "updates", "photos", "samples", "class images", "paper")

LEGEND = (
    "With default settings. updates: of each stage; photos: before each update; samples: pictures "
    "that pass the U-Net with gradients in all of training; class images: made before it."
)
"""What the headings mean."""


def entry(name: str) -> Entry:
    """What is known of a method; SettingsError for an unknown name."""
    kind = find(name)
    method = kind()
    hints = get_type_hints(kind)
    preset = preset_for(defaults.EMBEDDED).methods.get(name, {})
    usual = {item.name: item.default for item in fields(kind)}
    return Entry(
        name=kind.name,
        paper=kind.paper,
        summary=kind.summary,
        does=_paragraphs(kind.__doc__)[0],
        about=_paragraphs(sys.modules[kind.__module__].__doc__),
        trains=trained_parts(method),
        cost=cost(method),
        settings=tuple(
            Setting(
                item.name,
                item.default,
                item.metadata["meaning"],
                item.metadata["source"],
                _limits(hints[item.name], item.metadata["least"], item.metadata["above"]),
                _only(item.metadata["where"], usual),
                preset.get(item.name),
            )
            for item in fields(kind)
        ),
    )


def cost(method: Method) -> Cost:
    """What training with these settings takes, by the names that settings share.

    A stage shows ``<stage>_batch`` photos an update where there is such a setting, else ``batch``
    times ``accumulate``; beside each of the latter stands a class image where ``prior`` is on.
    """
    shared: int | None = getattr(method, "batch", None)
    if shared is not None:
        shared *= getattr(method, "accumulate", 1)
    stages: list[Stage] = []
    for name, steps in method.lengths().items():
        own: int | None = getattr(method, f"{name}_batch", None)
        photos = shared if own is None else own
        beside = 2 if method.prior_images and own is None else 1
        samples = None if steps is None or photos is None else steps * photos * beside
        stages.append(Stage(name, steps, photos, samples))
    counts = [stage.samples for stage in stages if stage.samples is not None]
    whole = sum(counts) if len(counts) == len(stages) else None
    return Cost(tuple(stages), whole, method.prior_images)


def trained_parts(method: Method) -> str:
    """What a method trains with these settings, in words: "a new word, all of the U-Net"."""
    said = {"token": "a new word", "steer": "an encoded prompt"}
    words = [phrase for part, phrase in said.items() if part in method.trains]
    parts = [_PARTS.get(part, part) for part in sorted(method.trains - said.keys())]
    if getattr(method, "rank", 0):
        extent = "adapters on"
    # Who counts what is trained in another way than whole parts trains less than these.
    elif not hasattr(method, "rank") and type(method).trained is not Method.trained:
        extent = "part of"
    else:
        extent = "all of"
    if parts:
        words.append(f"{extent} {' and '.join(parts)}")
    return ", ".join(words)


def shown(value: Any) -> str:  # noqa: ANN401  a setting is of any type
    """A setting's value as a person writes it.

    >>> shown(True), shown(5e-06), shown(""), shown("a photo of {}"), shown(None)
    ('on', '5e-6', '""', '"a photo of {}"', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return re.sub(r"e-0(\d)$", r"e-\1", f"{value:g}")
    text = str(value)
    return f'"{text}"' if not text or " " in text else text


def _sum_of(values: Iterable[int | None]) -> str:
    return " + ".join(shown(value) for value in values)


def _paragraphs(docstring: str | None) -> tuple[str, ...]:
    return tuple(" ".join(each.split()) for each in (docstring or "").split("\n\n"))


def _limits(hint: Any, least: float | None, above: float | None) -> str:  # noqa: ANN401
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    if least is not None:
        return f"at least {least:g}"
    return "" if above is None else f"greater than {above:g}"


def _only(where: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """Where a setting has an effect: at the default of another, or away from it.

    A number switches by being 0 or not; one that is not 0 by default leaves nothing to say.
    """
    conditions: list[str] = []
    for name, value in where.items():
        if isinstance(value, bool) or (isinstance(value, str) and value == usual[name]):
            conditions.append(f"{name} is {shown(value)}")
        elif isinstance(value, str) or usual[name] == 0:
            conditions.append(f"{name} is not {shown(usual[name])}")
    return f"only where {' and '.join(conditions)}" if conditions else ""
