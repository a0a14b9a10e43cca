"""Who is examined: a base, its recipe, and how it draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rarebooth import hub
from rarebooth.base import Base, Session
from rarebooth.bases import open_base
from rarebooth.pretrain.recipe import read_recipe
from rarebooth.sample import draw
from rarebooth.settings import preset_for

SAMPLER = "ddim"
"""The field's usual one, and the bars' (Song et al. 2021)."""


@dataclass(frozen=True)
class Candidate:
    """A base, the folder it came from, its recipe, and its guidance scale."""

    base: Base
    folder: Path
    recipe: Mapping[str, Any]
    guidance: float

    @classmethod
    def open(cls, name: str, guidance: float | None = None, device: str = "auto") -> "Candidate":
        """Open a base as ``open_base`` does; ``guidance`` is by default its preset's."""
        folder = hub.find(name).folder
        scale = preset_for(name).draw.guidance if guidance is None else guidance
        return cls(open_base(name, device=device), folder, read_recipe(folder), scale)

    @property
    def version(self) -> str:
        """What the base calls itself, like "embedded-1"."""
        return self.recipe.get("version", "unknown")

    def draw(self, prompts: Sequence[str], seed: int, steps: int) -> Tensor:
        """One picture a prompt, uint8 [N, S, S, 3], with seeds counted from ``seed``."""
        seeds = range(seed, seed + len(prompts))
        with Session(self.base) as session:
            pictures = draw(
                session, prompts, seeds, sampler=SAMPLER, steps=steps, guidance=self.guidance
            )
        return torch.from_numpy(pictures)

    def recode(self, pictures: Tensor) -> Tensor:
        """What the autoencoder makes of pictures uint8 [N, S, S, 3], its posterior's mean."""
        return torch.from_numpy(self.base.decode(self.base.posterior(pictures.numpy()).mean))
