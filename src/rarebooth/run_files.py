"""JSON of a run folder, read as files that anything may have happened to.

What is read is checked for what readers here rely on, and only for that: keys that earlier versions
had not may be missing, and others may stand beside.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from pydantic import BaseModel, Field, ValidationError, model_validator

from rarebooth.bounded import parsed, read_text
from rarebooth.errors import SettingsError

NAME = "[a-z0-9][a-z0-9-]{0,63}"
"""What can be the name of a checkpoint, and so of a folder."""

DEEPEST = 16
"""Lists and objects within one another; what rarebooth writes has seven."""

LONGEST_LINE = 2**20
"""Bytes of a line of ``steps.jsonl``; a loss and a timestep a picture take sixty."""

LARGEST = 3.4e38
"""Losses and scores are fp32."""

Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Pictures = Annotated[int, Field(ge=1, le=10_000)]


class _Plain(BaseModel, strict=True, extra="allow"):
    """An object of which some keys are known."""


class _Settings(_Plain):
    noun: str = ""
    method_settings: dict[str, Any] = {}


class _Drawing(_Plain, extra="forbid"):
    sampler: str = ""
    sampler_steps: Annotated[int, Field(ge=1, le=10_000)] = 1
    guidance: Number = 1


class _Base(_Plain):
    name: str
    digest: str = ""


class _Photos(_Plain):
    digest: str = ""


class _Choice(_Plain):
    rule: str
    why: str


class _Record(_Plain):
    status: str = ""
    settings: _Settings = _Settings()
    drawing: _Drawing = _Drawing()
    base: _Base = _Base(name="")
    photos: _Photos = _Photos()
    class_photos: str | None = None
    seconds: dict[str, Number] = {}
    resumed_from: list[Any] = []
    recommended: Name | None = None
    choice: _Choice | None = None


class _Extent(_Plain, extra="forbid"):
    diverse: Pictures = 1
    simple: Pictures = 1
    validation: Pictures = 1
    others: Pictures = 1


class _Score(_Plain):
    value: Number | None = None
    prompts: dict[str, Number | None] = {}


class _Scored(_Plain):
    validation: dict[str, Number | None]
    scores: dict[str, dict[str, _Score]]


class _Cost(_Plain):
    seconds: dict[str, Number] = {}
    unet_pictures_training: Count = 0
    unet_pictures_class_images: Count = 0
    unet_pictures_drawing: Count = 0


class _Scores(_Plain):
    noun: str
    base: _Base
    extent: _Extent
    checkpoints: dict[Name, _Scored]
    conventions: dict[str, str] = {}
    cost: _Cost = _Cost()
    recommended: Name | None = None
    rule: str | None = None
    why: str | None = None
    best_held_out: Name | None = None


class _Line(_Plain):
    stage: str
    step: Count
    loss: Number | None = None
    losses: list[Number | None] = []
    timesteps: list[Count] = []
    probe: Number | None = None

    @model_validator(mode="after")
    def _paired(self) -> "_Line":
        if len(self.losses) != len(self.timesteps):
            raise ValueError("losses and timesteps are not of the same samples")
        return self


def read_record(path: Path) -> dict[str, Any]:
    """The content of ``run.json``.

    Raises:
        OSError: it cannot be opened.
        SettingsError: it is damaged.
    """
    return _read(path, _Record, "Choose another folder with --out, or put an intact copy there.")


def read_scores(path: Path) -> dict[str, Any]:
    """The content of ``scores.json``; raises what ``read_record`` does."""
    return _read(path, _Scores, f"Make it anew: rarebooth evaluate {path.parent}")


def read_steps(
    path: Path, wanted: Callable[[Mapping[str, Any]], bool] = lambda _: True
) -> list[tuple[str, dict[str, Any]]]:
    """The wanted lines of ``steps.jsonl`` and what each says; none where there is no such file.

    A line that cannot be read is left out if none that is wanted follows: a process that is killed
    leaves half a line.

    Raises:
        SettingsError: the file cannot be opened, or is damaged before a line that is wanted.
    """
    try:
        with path.open("rb") as file:
            return _steps(path, file, wanted)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}. Let it be read, or remove it: only charts, "
            "and the probes that patience counts, are made from it."
        ) from error


def _steps(
    path: Path, file: BinaryIO, wanted: Callable[[Mapping[str, Any]], bool]
) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    damage = ""
    # A line that is longer is read as several, none of which is JSON.
    for number, line in enumerate(iter(partial(file.readline, LONGEST_LINE), b""), start=1):
        try:
            text = line.decode("utf-8").rstrip("\r\n")
            entry = _content(text, _Line)
        except ValueError as error:
            damage = damage or f"line {number} of {path} cannot be read: {_said(error)}"
            continue
        if not wanted(entry):
            continue
        if damage:
            raise SettingsError(
                f"{damage[0].upper()}{damage[1:]}. It is no half line that a kill leaves: others "
                "follow. Put an intact copy there, or remove the line: charts, and the probes that "
                "patience counts, then lack its step."
            )
        found.append((text, entry))
    return found


def _read(path: Path, kind: type[BaseModel], advice: str) -> dict[str, Any]:
    try:
        return _content(read_text(path), kind)
    except ValueError as error:
        raise SettingsError(f"{path} cannot be read: {_said(error)}. {advice}") from error


def _content(text: str, kind: type[BaseModel]) -> dict[str, Any]:
    content: Any = parsed(text)
    _require_plain(content, DEEPEST)
    kind.model_validate(content)
    return content


def _require_plain(value: Any, levels: int) -> None:  # noqa: ANN401
    """Raise ValueError for what cannot be written or compared again."""
    if isinstance(value, str):
        value.encode("utf-8")  # JSON can hold halves of characters
    elif isinstance(value, dict | list):
        if levels == 0:
            raise ValueError(f"more than {DEEPEST} lists and objects lie within one another")
        parts: list[Any] = [*value, *value.values()] if isinstance(value, dict) else value
        for part in parts:
            _require_plain(part, levels - 1)


def _said(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part)[:40] for part in first["loc"]) or "the whole"
    return f"{place!a} is wrong ({first['msg']})"
