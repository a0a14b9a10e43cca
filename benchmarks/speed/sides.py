"""The same training as two command lines: ours, and that of diffusers' example script."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from process import words

from rarebooth.hub import find

PHOTOS: Final = Path("src/rarebooth/assets/examples/backpack")
BASE: Final = "embedded"


@dataclass(frozen=True)
class Match:
    """A training that both sides do: the same base, photos, size, steps, batch and optimiser.

    ``ours``: flags of ``rarebooth train``. ``script``: a file of diffusers' examples; ``theirs``:
    its flags. ``stage``: what a step of it is called. ``whole``: whether the whole processes are
    compared, or its steps alone.
    """

    name: str
    steps: int
    batch: int
    ours: Mapping[str, object]
    script: str
    theirs: Mapping[str, object]
    stage: str
    whole: bool


_PLAIN = {"previews": "none", "choose": "last", "lr": 1e-4}


def _dreambooth(name: str, steps: int, batch: int, *, whole: bool, class_images: int = 0) -> Match:
    """DreamBooth of all weights; with ``class_images``, those are drawn first, by both."""
    ours: dict[str, object] = {"method": "dreambooth", "prior": "false", **_PLAIN}
    theirs: dict[str, object] = {"instance_prompt": "a photo of zwx backpack"}
    if class_images:
        ours |= {"prior": "true", "class-images": class_images, "prior-weight": 1}
        theirs |= {
            "with_prior_preservation": True,
            "class_prompt": "a photo of a backpack",
            "class_data_dir": "class",
            "num_class_images": class_images,
            "prior_loss_weight": 1,
        }
    return Match(
        name, steps, batch, ours, "train_dreambooth.py", theirs, "stage two, or DreamBooth", whole
    )


ALONE: Final[Mapping[str, Mapping[str, object]]] = {
    "two-stage": {"method": "two-stage", "token-steps": 100, "steps": 400}
}
"""Trainings that only our side does, flags by name: with previews and all else by default."""

MATCHES: Final = {
    match.name: match
    for match in (
        _dreambooth("dreambooth", 400, 1, whole=True),
        _dreambooth("dreambooth-batch-4", 60, 4, whole=False),
        _dreambooth("dreambooth-prior", 60, 1, whole=True, class_images=16),
        Match(
            "textual-inversion",
            60,
            4,
            {"method": "textual-inversion", **_PLAIN, "vectors": 1},
            "textual_inversion.py",
            {
                "placeholder_token": "<subject>",
                "initializer_token": "backpack",
                "learnable_property": "object",
                "save_steps": 100000,
            },
            "stage one, or Textual Inversion",
            whole=True,
        ),
    )
}


def ours(match: Match, out: Path) -> list[str]:
    """Our side's program and arguments."""
    given = {
        "noun": "backpack",
        "base": BASE,
        "device": "cpu",
        "precision": "fp32",
        "out": out / "run",
        "steps": match.steps,
        "batch": match.batch,
        "checkpoint-every": match.steps,
        **match.ours,
    }
    return ["-m", "rarebooth", "train", str(PHOTOS.resolve()), *words(given)]


def alone(name: str, out: Path) -> list[str]:
    """The program and arguments of a training that has no other side."""
    given = {"noun": "backpack", "base": BASE, "device": "cpu", "precision": "fp32"}
    flags = words({**given, "out": out / "run", **ALONE[name]})
    return ["-m", "rarebooth", "train", str(PHOTOS.resolve()), *flags]


def theirs(match: Match, out: Path, scripts: Path, photos: Path) -> list[str]:
    """Their side's; ``photos`` holds nothing else, as the script takes every file for one."""
    folder = "train_data_dir" if "inversion" in match.script else "instance_data_dir"
    given = {
        "pretrained_model_name_or_path": find(BASE).folder,
        folder: photos,
        "output_dir": out / "their-run",
        "resolution": 64,
        "train_batch_size": match.batch,
        "max_train_steps": match.steps,
        "learning_rate": 1e-4,
        "lr_scheduler": "constant",
        "lr_warmup_steps": 0,
        "checkpointing_steps": 100000,
        "mixed_precision": "no",
        "seed": 0,
        **match.theirs,
    }
    return [str(scripts.resolve() / match.script), *words(given)]
