"""The stage ``all``: base, judges and examiner by one command, in so many minutes of training.

It can be stopped at any moment and continues with the same command; with more minutes, it trains
on. Everything lies in one folder: ``data``, ``state``, and the results ``base``, ``judges`` and
``examiner``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rarebooth.pretrain.autoencoder import train_autoencoder
from rarebooth.pretrain.denoiser import TOKENIZER, Denoiser, new_denoiser, train_denoiser
from rarebooth.pretrain.examiner.learning import new_network, train_examiner
from rarebooth.pretrain.examiner.network import ExaminerNetwork
from rarebooth.pretrain.examiner.packing import pack_examiner
from rarebooth.pretrain.examiner.scenes import draw_examiner_scenes
from rarebooth.pretrain.judges.clip import new_caption_tests, train_clip
from rarebooth.pretrain.judges.data import draw_groups
from rarebooth.pretrain.judges.dino import new_triplets, train_dino
from rarebooth.pretrain.judges.exam import CaptionTests, Triplets
from rarebooth.pretrain.judges.networks import Clip, Dino, new_clip, new_dino
from rarebooth.pretrain.judges.packing import pack_clip, pack_dino
from rarebooth.pretrain.latents import make_latents
from rarebooth.pretrain.networks import PICTURE_SIZE, Autoencoder, new_autoencoder
from rarebooth.pretrain.packing import pack
from rarebooth.pretrain.rendering import Draw, Renderer, draw_scenes, render_shards
from rarebooth.pretrain.shards import SHARD_SIZE
from rarebooth.pretrain.tokenizer import Vocabulary
from rarebooth.pretrain.training import LOG, Training
from rarebooth.world.render import render

TIME: Final = {"autoencoder": 0.17, "denoiser": 0.50, "dino": 0.05, "clip": 0.17, "examiner": 0.11}
"""The share of the minutes that each training gets."""

BATCH: Final = {
    "cpu": {"autoencoder": 16, "denoiser": 32, "dino": 64, "clip": 128, "examiner": 64},
    "cuda": {"autoencoder": 128, "denoiser": 256, "dino": 256, "clip": 512, "examiner": 512},
}
"""Small batches learn more a second on a CPU; they would leave a GPU idle."""


@dataclass(frozen=True)
class Parts:
    """The renderer, the networks and the judges' tests; by default the real ones."""

    renderer: Renderer = render
    shard_size: int = SHARD_SIZE
    autoencoder: Callable[[int], Autoencoder] = new_autoencoder
    denoiser: Callable[[Vocabulary], Denoiser] = new_denoiser
    dino: Callable[[], Dino] = new_dino
    clip: Callable[[Vocabulary], Clip] = new_clip
    examiner: Callable[[], ExaminerNetwork] = new_network
    triplets: Callable[[], Triplets] = new_triplets
    captions: Callable[[], CaptionTests] = new_caption_tests


@dataclass(frozen=True, kw_only=True)
class Whole:
    """What is to be trained: see the command's help.

    ``minutes`` of training in all, rendering and encoding not counted. ``pictures``: how many are
    rendered for each of the three stocks. ``judges_size``: the edge of the judges' pictures.
    """

    out: Path
    minutes: float
    pictures: int
    version: str
    machine: str
    size: int = PICTURE_SIZE
    judges_size: int = PICTURE_SIZE
    base: Path | None = None
    device: str = "cpu"
    seed: int = 0
    parts: Parts = Parts()

    def run(self) -> bool:
        """Do what is left to do; False where a training was asked to end before its time."""
        for training in self._trainings():
            if training.share < 1:
                LOG.info("asked to end; the same command continues")
                return False
        return True

    def _trainings(self) -> Iterator[Training]:
        """Every training when it has ended, each result written as soon as it can be."""
        out, parts, about = self.out, self.parts, {"machine": self.machine}
        state, data = out / "state", out / "data"
        self._render(data / "base", self.size, draw_scenes)
        yield train_autoencoder(
            data / "base",
            state,
            **self._told("autoencoder"),
            base=self.base,
            networks=parts.autoencoder,
        )
        make_latents(data / "base", state, device=self.device, networks=parts.autoencoder)
        yield train_denoiser(
            data / "base",
            state,
            **self._told("denoiser"),
            base=self.base,
            networks=parts.denoiser,
        )
        shapes: dict[str, Any] = {"new_vae": parts.autoencoder, "new_pair": parts.denoiser}
        pack(state, out / "base", version=self.version, **about, **shapes)

        tokenizer = state / TOKENIZER
        self._render(data / "judges", self.judges_size, draw_groups)
        yield train_dino(
            data / "judges",
            state,
            **self._told("dino"),
            network=parts.dino,
            triplets=parts.triplets,
        )
        yield train_clip(
            data / "judges",
            state,
            tokenizer,
            **self._told("clip"),
            network=parts.clip,
            tests=parts.captions,
        )
        about_judges = {"version": self.version, **about}
        pack_dino(state, out / "judges" / "dino", **about_judges, network=parts.dino)
        pack_clip(state, tokenizer, out / "judges" / "clip", **about_judges, network=parts.clip)

        self._render(data / "examiner", self.judges_size, draw_examiner_scenes)
        yield train_examiner(
            data / "examiner", state, **self._told("examiner"), network=parts.examiner
        )
        pack_examiner(state, out / "examiner", **about, network=parts.examiner)

    def _told(self, stage: str) -> dict[str, Any]:
        """What every training is told."""
        kind = "cpu" if self.device == "cpu" else "cuda"
        return {
            "minutes": self.minutes * TIME[stage],
            "batch": BATCH[kind][stage],
            "device": self.device,
            "seed": self.seed,
        }

    def _render(self, data: Path, size: int, draw: Draw) -> None:
        render_shards(
            data,
            range(-(-self.pictures // self.parts.shard_size)),
            seed=self.seed,
            size=size,
            device=self.device,
            renderer=self.parts.renderer,
            draw=draw,
            shard_size=self.parts.shard_size,
        )
