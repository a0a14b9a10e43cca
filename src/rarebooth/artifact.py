"""The subject file: what was learnt, as safetensors with one JSON header. The only native format.

Tensors: ``token/<word>`` fp32 [V, D]; ``change/<part.parameter>`` fp16 with ``scale/<...>`` fp32
[]; or, of low rank, ``up/<...>`` fp32 [out, rank] with ``down/<...>`` [rank, in] and perhaps
``magnitude/<...>`` [out]; ``steer/tail`` or ``steer/blend`` fp32 [L, D]. The file is a pure
function of its inputs: no date, duration, path or package version.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rarebooth.base import Identity
from rarebooth.delta import Blend, Change, Delta, LowRank, Steer, Tail
from rarebooth.errors import ArtifactError, DivergedError, is_out_of_memory
from rarebooth.store import digest, writing

FORMAT = 2
READABLE = (1, FORMAT)
"""Format 1 knew neither changes of low rank nor steering, and is the same otherwise."""
HEADER = "rarebooth"

_TYPES = {
    "token": torch.float32,
    "change": torch.float16,
    "scale": torch.float32,
    "up": torch.float32,
    "down": torch.float32,
    "magnitude": torch.float32,
    "steer": torch.float32,
}
_DIMENSIONS = {"token": 2, "scale": 0, "up": 2, "down": 2, "magnitude": 1, "steer": 2}

LARGEST_SIDE = 16_384
"""Pixels; far above what any model of the families here can draw."""

T = TypeVar("T")


@dataclass(frozen=True)
class Header:
    """What a subject file says of itself.

    ``prompt`` is the one it was trained with, ``checkpoint`` the point of training ("stage-one",
    "400"), ``size`` the side of the pictures in pixels.
    """

    base: Identity
    method: str
    settings: Mapping[str, Any]
    seed: Annotated[int, pydantic.Field(ge=-(2**64), le=2**64)]
    nouns: tuple[str, ...]
    prompt: str
    size: Annotated[int, pydantic.Field(ge=1, le=LARGEST_SIDE)]
    checkpoint: str


@dataclass(frozen=True)
class Artifact:
    """A subject file's content: the header, what was learnt, and the file's own digest."""

    header: Header
    delta: Delta
    digest: str


def save(path: Path, delta: Delta, header: Header) -> None:
    """Write a subject file atomically.

    Raises DivergedError, and writes nothing, where a number of ``delta`` is not finite.
    """
    tensors: dict[str, Tensor] = {}
    for token, vector in delta.tokens.items():
        tensors[f"token/{token}"] = vector.detach().float().cpu().contiguous()
    for name, change in delta.weights.items():
        tensors |= _changed(name, change)
    match delta.steer:
        case Tail():
            tensors["steer/tail"] = delta.steer.vectors.detach().float().cpu().contiguous()
        case Blend():
            tensors["steer/blend"] = delta.steer.embedding.detach().float().cpu().contiguous()
        case None:
            pass
    for key, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise DivergedError(
                f"{key} holds a number that is not finite, so {path.name} was not written. The "
                "last checkpoint is sound. Lower the learning rate or use --precision fp32."
            )
    content = {
        "format": FORMAT,
        "phrases": list(delta.phrases),
        "steer": _steering(delta.steer),
        **asdict(header),
    }
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    with writing(path, needed) as beside:
        save_file(tensors, beside, {HEADER: json.dumps(content, sort_keys=True)})


def load(path: Path) -> Artifact:
    """Read a subject file; ArtifactError if it is missing, damaged or of another kind."""
    if not path.is_file():
        raise ArtifactError(
            f"There is no subject file at {path}. Train one with `rarebooth train`."
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER)
            if header is None:
                raise ArtifactError(
                    f"{path.name} is a safetensors file, but not a rarebooth subject: it has no "
                    f"{HEADER!r} header."
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        known = digest(path)
    except (SafetensorError, OSError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise ArtifactError(
            f"{path.name} cannot be read as a subject file ({error}). It may be half-written or "
            "damaged; take another checkpoint of the run or train it again."
        ) from error
    words, parsed = _parse_header(path, header)
    return Artifact(parsed, _parse_delta(path, words, tensors), known)


@dataclass(frozen=True)
class _Format:
    format: int


@dataclass(frozen=True)
class _Steering:
    """How encoded prompts are steered: its word, and the strength of a tail or eta of a blend."""

    word: str
    amount: float


@dataclass(frozen=True)
class _Words:
    phrases: tuple[str, ...]
    steer: _Steering | None = None


def _steering(steer: Steer | None) -> dict[str, Any] | None:
    match steer:
        case Tail():
            return asdict(_Steering(steer.word, steer.strength))
        case Blend():
            return asdict(_Steering(steer.word, steer.eta))
        case None:
            return None


def _changed(name: str, change: Change | LowRank) -> dict[str, Tensor]:
    """The tensors of one weight's change, by their keys in the file."""
    match change:
        case Change():
            return {
                f"change/{name}": change.values.contiguous(),
                f"scale/{name}": torch.tensor(change.scale, dtype=torch.float32),
            }
        case LowRank():
            found = {f"up/{name}": change.up, f"down/{name}": change.down}
            if change.magnitude is not None:
                found[f"magnitude/{name}"] = change.magnitude
            return {key: value.float().cpu().contiguous() for key, value in found.items()}


def _parse_header(path: Path, text: str) -> tuple[_Words, Header]:
    def parse(kind: type[T]) -> T:
        return pydantic.TypeAdapter(kind).validate_json(text, strict=True)

    try:
        # First, and by itself: the rest of another format's header may be of another kind.
        found = parse(_Format).format
        if found not in READABLE:
            raise ArtifactError(
                f"{path.name} has subject format {found}; this rarebooth reads format {FORMAT}. "
                "Update rarebooth."
            )
        return parse(_Words), parse(Header)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "all of it"
        raise ArtifactError(
            f"{path.name} has a damaged header ({place}: {first['msg']}). Take another checkpoint "
            "of the run or train it again."
        ) from error


def _parse_delta(path: Path, words: _Words, tensors: Mapping[str, Tensor]) -> Delta:
    found: dict[str, dict[str, Tensor]] = {kind: {} for kind in _TYPES}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        if value.dtype != _TYPES.get(kind) or value.ndim != _DIMENSIONS.get(kind, value.ndim):
            raise ArtifactError(
                f"{path.name} holds {key!r} as {value.dtype} {tuple(value.shape)}, which is no "
                "part of a subject. Take another checkpoint of the run or train it again."
            )
        if not bool(torch.isfinite(value).all()):
            raise ArtifactError(
                f"{path.name} holds a number that is not finite in {name!r}. Take another "
                "checkpoint of the run or train it again."
            )
        if kind == "change" and value.numel() and float(value.abs().max()) > 1:
            raise ArtifactError(
                f"{path.name} holds {float(value.abs().max()):g} in the change of {name!r}, and a "
                "change is from -1 to 1 times its scale. Take another checkpoint of the run or "
                "train it again."
            )
        found[kind][name] = value
    for one, other, text in (
        ("change", "scale", "a change without its scale, or a scale alone"),
        ("up", "down", "one half of a low-rank change without the other"),
    ):
        lone = found[one].keys() ^ found[other].keys()
        if lone:
            raise ArtifactError(
                f"{path.name} holds {text}: {sorted(lone)[0]}. Take another checkpoint of the run "
                "or train it again."
            )
    weights: dict[str, Change | LowRank] = {
        name: Change(values, float(found["scale"][name]))
        for name, values in found["change"].items()
    }
    for name, up in found["up"].items():
        down, magnitude = found["down"][name], found["magnitude"].get(name)
        if up.shape[1] != len(down) or (magnitude is not None and len(magnitude) != len(up)):
            raise ArtifactError(
                f"{path.name} holds halves of a low-rank change that do not fit: {name} is "
                f"{tuple(up.shape)} by {tuple(down.shape)}. Take another checkpoint of the run or "
                "train it again."
            )
        weights[name] = LowRank(up, down, magnitude)
    return Delta(words.phrases, found["token"], weights, _parse_steer(path, words, found["steer"]))


def _parse_steer(path: Path, words: _Words, vectors: Mapping[str, Tensor]) -> Steer | None:
    if words.steer is not None and not all(
        math.isfinite(words.steer.amount) and bool(torch.isfinite(each * words.steer.amount).all())
        for each in vectors.values()
    ):
        raise ArtifactError(
            f"{path.name} steers by {words.steer.amount:g}, with which its numbers are not finite. "
            "Take another checkpoint of the run or train it again."
        )
    match words.steer, dict(vectors):
        case None, {**none} if not none:
            return None
        case _Steering(word, amount), {"tail": vector, **none} if not none:
            return Tail(word, vector, amount)
        case _Steering(word, amount), {"blend": vector, **none} if not none:
            return Blend(word, vector, amount)
        case _:
            raise ArtifactError(
                f"{path.name} holds the steering {sorted(vectors)} and its header says "
                f"{words.steer}: one does not fit the other. Take another checkpoint of the run or "
                "train it again."
            )


def require_base(artifact: Artifact, found: Identity) -> None:
    """Raise ArtifactError unless the subject was trained on exactly this base."""
    wanted = artifact.header.base
    if wanted.digest != found.digest:
        raise ArtifactError(
            f"This subject was trained on the base {wanted.name!r} ({wanted.digest[:12]}); the "
            f"base {found.name!r} given now has other weights ({found.digest[:12]}). Use the "
            "base it was trained on."
        )
