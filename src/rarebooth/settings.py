"""Settings: where each value comes from, and what wins.

A flag wins over an environment variable (``RAREBOOTH_LR``), that over the TOML file, that over the
base's preset, that over the method's own default. Unknown keys are errors.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, get_type_hints

import pydantic

from rarebooth import defaults
from rarebooth.bounded import read_text
from rarebooth.errors import SettingsError

if TYPE_CHECKING:  # a method imports torch, and settings are looked at before it is needed
    from rarebooth.method import Method

Precision: TypeAlias = Literal["auto", "fp32", "bf16"]
"""What a base is asked to compute in; auto is what its device is best at."""

ENVIRONMENT = "RAREBOOTH_"
ENVIRONMENT_ELSEWHERE = frozenset({"cache", "dreambench", "clip_bpe"})
"""Names behind the prefix that are no settings of a run: where class images and test data lie."""

LARGEST_FILE = 2**20
"""Bytes of a settings file."""

LARGEST_SEED = 2**62
"""Leaves room, in the 64 bits of a generator's seed, for the seeds that are counted on from it."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Everything about a run but its photos and its method's own settings.

    ``noun``: the class noun, or those of several subjects in their folders' order: "dog, cat".
    ``choose``: which checkpoint is recommended, the best on prompts held out for it or the last.
    ``probe_every``: steps between probes on fixed noise, 0 for none; where there are five photos or
    more, the last is left out of training for them. ``patience``: probes without a better one after
    which training stops, 0 for never. ``gradient_checkpointing``: intermediate results are formed
    again instead of kept, to the same result in less memory. ``split_batches``: a batch that does
    not fit into memory is worked off in smaller pieces, to the same result but for rounding.
    ``low_memory``: intermediate results are formed again too, no more than one weight's gradient is
    held, and AdamW's moments are kept in 8 bits, to another result: gradients are clipped tensor by
    tensor.
    ``compile``: torch compiles the steps (not what is drawn), to the same result but for rounding;
    each stage begins a minute or more later.
    """

    noun: str
    base: str
    method: str = defaults.METHOD
    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"
    resolution: int | None = None
    checkpoint_every: int = 200
    save_state_every: int = 100
    previews: Literal["sheet", "none"] = "sheet"
    choose: Literal["held-out", "last"] = "held-out"
    probe_every: int = 0
    patience: int = 0
    gradient_checkpointing: bool = False
    split_batches: bool = False
    low_memory: bool = False
    compile: bool = False

    @property
    def recomputes(self) -> bool:
        """Whether intermediate results are formed again instead of kept."""
        return self.gradient_checkpointing or self.low_memory


class DrawOptions(TypedDict):
    """The arguments of ``sample.draw`` that say how to draw."""

    sampler: str
    steps: int
    guidance: float


@dataclass(frozen=True, kw_only=True)
class DrawSettings:
    """How pictures are drawn: the field's usual DDIM 50, guidance 7.5, or a preset's."""

    sampler: Literal["ddim", "dpm++", "pndm"] = "ddim"
    sampler_steps: int = 50
    guidance: float = 7.5

    @property
    def forwards(self) -> int:
        """Pictures that pass the U-Net for one that is drawn: guidance takes two a step."""
        calls = self.sampler_steps + (self.sampler == "pndm")  # its second step is taken twice
        return calls * (1 if self.guidance == 1 else 2)

    @property
    def options(self) -> DrawOptions:
        """The same as ``sample.draw`` takes it: ``draw(..., **settings.options)``."""
        return DrawOptions(sampler=self.sampler, steps=self.sampler_steps, guidance=self.guidance)


@dataclass(frozen=True)
class Preset:
    """Values for one base, and the record they come from.

    ``draw``: how pictures are drawn that are generated, scored or learnt from. ``preview``: how
    those are that a training draws to be looked at, or to choose a checkpoint by.
    """

    name: str
    source: str
    train: Mapping[str, Any]
    draw: DrawSettings
    preview: DrawSettings
    methods: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Resolved:
    """Settings with every value decided; ``origin`` says where each came from."""

    train: TrainSettings
    method: "Method"
    preset: Preset
    origin: Mapping[str, str]

    def as_record(self) -> dict[str, Any]:
        """All settings as plain data, for ``run.json`` and for comparing two runs."""
        run = {item.name: getattr(self.train, item.name) for item in fields(self.train)}
        return {**run, "method_settings": method_settings(self.method)}


def method_settings(method: "Method") -> dict[str, Any]:
    """A method's settings as plain data."""
    return {item.name: getattr(method, item.name) for item in fields(method)}


def preset_for(base: str) -> Preset:
    """The preset of a base: the embedded one has its own, all others the papers' values."""
    name = defaults.EMBEDDED if base == defaults.EMBEDDED else "default"
    text = resources.files("rarebooth.presets").joinpath(f"{name}.toml").read_text("utf-8")
    content = tomllib.loads(text)
    draw = DrawSettings(**content.get("draw", {}))
    preview = replace(draw, **content.get("preview", {}))
    return Preset(
        name, content["source"], content.get("train", {}), draw, preview, content.get("methods", {})
    )


def read_file(path: Path) -> dict[str, Any]:
    """Read a TOML settings file; SettingsError where it is missing or malformed."""
    try:
        return tomllib.loads(read_text(path, LARGEST_FILE))
    except FileNotFoundError as error:
        raise SettingsError(f"There is no settings file {path}.") from error
    except (OSError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise SettingsError(f"The settings file {path} cannot be read: {reason}.") from error


def from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings among environment variables, by their lower-case names."""
    named = {
        key.removeprefix(ENVIRONMENT).lower(): value
        for key, value in environment.items()
        if key.startswith(ENVIRONMENT)
    }
    return {key: value for key, value in named.items() if key not in ENVIRONMENT_ELSEWHERE}


def resolve(
    kind: "type[Method]",
    flags: Mapping[str, Any],
    environment: Mapping[str, Any],
    file: Mapping[str, Any],
    preset: Preset,
) -> Resolved:
    """Decide every setting. Raises SettingsError for unknown keys and values out of range."""
    run_hints = get_type_hints(TrainSettings)
    method_hints = {item.name: get_type_hints(kind)[item.name] for item in fields(kind)}
    preset_values = {**preset.train, **preset.methods.get(kind.name, {})}
    layers = (
        ("flag", flags),
        ("environment", environment),
        ("file", file),
        (f"preset {preset.name}", preset_values),
    )
    for origin, layer in layers:
        _require_known(origin, layer, (*run_hints, *method_hints), kind.name)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for key, hint in (run_hints | method_hints).items():
        for origin, layer in layers:
            if layer.get(key) is not None:
                values[key] = _parse(key, layer[key], hint, origin)
                origins[key] = origin
                break
    for key in run_hints.keys() & {"noun", "base"} - values.keys():
        raise SettingsError(f"--{key} is missing. Say what the photos show, e.g. --noun dog.")
    train = TrainSettings(**{key: values[key] for key in run_hints if key in values})
    method = kind(**{key: values[key] for key in method_hints if key in values})
    method.check()
    _check_run(train, method, origins)
    return Resolved(train, method, preset, origins)


def check_seed(seed: int, count: int = 1) -> None:
    """Raise SettingsError unless ``seed`` and the ``count - 1`` after it can seed a generator."""
    if seed < 0 or seed + count - 1 > LARGEST_SEED:
        raise SettingsError(f"seed is {seed}; it must be from 0 to {LARGEST_SEED}.")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The settings in which two records differ, as "name: before -> now"."""
    flat = [{**record, **record.get("method_settings", {})} for record in (before, now)]
    for record in flat:
        record.pop("method_settings", None)
    names = dict.fromkeys((*flat[0], *flat[1]))
    return [
        f"{name}: {flat[0].get(name)} -> {flat[1].get(name)}"
        for name in names
        if flat[0].get(name) != flat[1].get(name)
    ]


def _require_known(
    origin: str, layer: Mapping[str, Any], known: Iterable[str], method: str
) -> None:
    for key in layer:
        if key not in known:
            raise SettingsError(
                f"Unknown setting {key!r} ({origin}); {method} knows: {', '.join(sorted(known))}."
            )


def _parse(key: str, value: Any, hint: Any, origin: str) -> Any:  # noqa: ANN401
    try:
        return pydantic.TypeAdapter(hint).validate_python(value)
    except pydantic.ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise SettingsError(f"{key} ({origin}) is {value!r}: {reason}.") from error


def _longest(lengths: Iterable[int | None]) -> int | None:
    """The steps of the longest stage, where every stage says its own."""
    longest = 0
    for length in lengths:
        if length is None:
            return None
        longest = max(longest, length)
    return longest


def _shorter(method: "Method", every: int) -> bool:
    """Whether all stages but the last are known to be shorter than so many steps."""
    lengths = list(method.lengths().values())[:-1]
    return all(length is not None and length < every for length in lengths)


def _check_run(train: TrainSettings, method: "Method", origin: Mapping[str, str]) -> None:
    check_seed(train.seed)
    lengths = method.lengths()
    steps = lengths[method.stages[-1]]
    for key in ("checkpoint_every", "save_state_every", "probe_every"):
        # States are due in every stage, the others in the last alone.
        reach = _longest(lengths.values()) if key == "save_state_every" else steps
        every: int = getattr(train, key)
        if every < 1 and key != "probe_every":
            raise SettingsError(f"{key} is {every}; it must be at least 1.")
        given = origin.get(key) in {"flag", "environment", "file"}
        if given and reach is not None and every > reach:
            of = "the run" if reach == steps else "its longest stage"
            raise SettingsError(
                f"{key} is {every}, longer than {of} of {reach} steps. Choose at most {reach}."
            )
        # After the last step of all, no state is left to be needed.
        only_then = every == steps and _shorter(method, every)
        if given and key == "save_state_every" and only_then:
            raise SettingsError(
                f"{key} is {every}, and the run ends with step {every}, where no state is needed "
                f"any more. Choose at most {max(every - 1, 1)}."
            )
    for key in ("probe_every", "patience"):
        if getattr(train, key) < 0:
            raise SettingsError(f"{key} is {getattr(train, key)}; it must be at least 0.")
    if train.probe_every and "steer" in method.changes:
        raise SettingsError(
            f"probe_every is {train.probe_every}, and what {method.name} learns is only seen by "
            "drawing with it, not by a probe. Leave it out."
        )
    if train.patience and not train.probe_every:
        raise SettingsError(
            f"patience is {train.patience}, and there is no probe to be patient with. Say how "
            "often to probe with probe_every, or leave patience out."
        )
    if train.low_memory:
        from rarebooth.optimisers import require_whole_batches  # noqa: PLC0415  imports torch

        require_whole_batches(getattr(method, "accumulate", 1), split=train.split_batches)
    if train.resolution is not None and train.resolution < 1:
        raise SettingsError(f"resolution is {train.resolution}; it must be at least 1.")
