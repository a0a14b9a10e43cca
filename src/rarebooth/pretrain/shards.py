"""Shards: a data folder of rendered pictures and their latents, a thousand to a file.

A shard is one safetensors file, written beside and renamed, with the scenes in its header; whatever
is in the folder under its final name is complete.
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from rarebooth.errors import ResourceError
from rarebooth.store import writing
from rarebooth.world.scene import Scene

SHARD_SIZE: Final = 1000

WORLD: Final = "world"
"""The fact that tells which version of the world was photographed."""

ENCODER: Final = "encoder"
"""The fact that tells which encoder made the latents."""

RENDERED: Final = "pictures_rendered"
WORLDS: Final = "worlds"
"""What a training notes about its stock, for the recipe."""

SIZE: Final = "size"
"""What a training on pictures notes: their edge, in pixels."""

Kind = Literal["pictures", "latents"]


class Shard(NamedTuple):
    """What a shard holds: tensors with one row a scene, the scenes, and facts about all of them."""

    tensors: Mapping[str, Tensor]
    scenes: Sequence[Scene]
    facts: Mapping[str, str]


def path_of(data: Path, kind: Kind, number: int) -> Path:
    """Where a shard lies in a data folder."""
    return data / f"{kind}-{number:05d}.safetensors"


def numbers_of(data: Path, kind: Kind) -> list[int]:
    """The numbers of the complete shards of a kind, in order."""
    matches = (re.fullmatch(rf"{kind}-(\d+)\.safetensors", file.name) for file in data.glob("*"))
    return sorted(int(match[1]) for match in matches if match)


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard atomically."""
    scenes = json.dumps([dataclasses.astuple(scene) for scene in shard.scenes])
    with writing(path) as beside:
        save_file(dict(shard.tensors), beside, metadata={**shard.facts, "scenes": scenes})


def read_facts(path: Path) -> Mapping[str, str]:
    """The facts of a shard, without its tensors."""
    with safe_open(path, framework="pt") as file:
        return {key: value for key, value in file.metadata().items() if key != "scenes"}


def read_shard(path: Path) -> Shard:
    """Read what ``write_shard`` wrote."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = dict(file.metadata())
    scenes = [Scene(*fields) for fields in json.loads(facts.pop("scenes"))]
    return Shard(tensors, scenes, facts)


class Stock:
    """All shards of a kind, held in memory, growing as shards appear in the folder.

    ``facts`` are the first shard's; ``worlds`` the versions of the world that were photographed.

    Raises ResourceError where the folder holds none.
    """

    def __init__(self, data: Path, kind: Kind, device: str = "cpu") -> None:
        self._data, self._device = data, device
        self._kind: Kind = kind
        self._known: set[int] = set()
        self.tensors: dict[str, Tensor] = {}
        self.scenes: list[Scene] = []
        self.facts: Mapping[str, str] = {}
        self.worlds: set[str] = set()
        self.refresh()
        if not self.scenes:
            raise ResourceError(
                f"{data} holds no {kind}-*.safetensors. Make some first: python -m "
                f"rarebooth.pretrain {'render --out' if kind == 'pictures' else 'latents --data'} "
                f"{data} ..."
            )

    def __len__(self) -> int:
        return len(self.scenes)

    def note(self, notes: dict[str, Any]) -> None:
        """Write down what a recipe says of the pictures: how many there are, and of which worlds.

        A training may go on with other pictures, so that worlds add up.
        """
        notes[RENDERED] = len(self)
        notes[WORLDS] = sorted({*notes.get(WORLDS, ()), *self.worlds})

    def refresh(self) -> None:
        """Take in the shards that appeared since the last time.

        Raises ResourceError where a new shard does not fit the others.
        """
        fresh = [n for n in numbers_of(self._data, self._kind) if n not in self._known]
        shards = [read_shard(path_of(self._data, self._kind, number)) for number in fresh]
        if not shards:
            return
        self.facts = self.facts or shards[0].facts
        for number, shard in zip(fresh, shards, strict=True):
            if shard.facts.get(ENCODER) != self.facts.get(ENCODER):
                raise ResourceError(
                    f"{path_of(self._data, self._kind, number)} comes from another encoder than "
                    f"the other {self._kind}. Run the stage `latents` again: it renews what is "
                    "outdated."
                )
            self.worlds.add(shard.facts.get(WORLD, "unknown"))
            self.scenes.extend(shard.scenes)
        for name in shards[0].tensors:
            parts = [shard.tensors[name].to(self._device) for shard in shards]
            known = [self.tensors[name]] if name in self.tensors else []
            self.tensors[name] = torch.cat([*known, *parts])
        self._known.update(fresh)
