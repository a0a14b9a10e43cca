"""Seconds until two-stage is as like the subject as DreamBooth is after 800 steps.

    python benchmarks/speed/likeness.py --scripts FOLDER [--peer-path PATH] [--subject dog_1]

DreamBooth is diffusers' script with 200 class images that it draws itself, at the learning rate
that served DreamBooth best on the embedded base. Both are drawn by the same sampler on the 25
DreamBench prompts of a validation subject, which chose no setting that is used here but the
presets, and judged by the embedded DINO. Two-stage is trained by its preset and judged at every
checkpoint; what counts is the whole process up to the first that reaches DreamBooth's figure.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from process import timed, words
from sides import BASE
from table import LIKENESS, renew

from rarebooth.base import Session
from rarebooth.bases import open_base
from rarebooth.evaluation import wear
from rarebooth.evidence import draw_set
from rarebooth.hub import find
from rarebooth.machine import machine
from rarebooth.metric import PictureJudge
from rarebooth.metrics.encoders.judges import open_judges
from rarebooth.protocols import Extent
from rarebooth.settings import preset_for
from rarebooth.subject import Subject, read_folder
from rarebooth.world.subjects import find as find_subject
from rarebooth.world.subjects import write_photos

STEPS, CLASS_IMAGES = 800, 200
CHECKPOINT_EVERY = 25
PRESET = preset_for(BASE)
DREAMBOOTH, TWO_STAGE = (PRESET.methods[name] for name in ("dreambooth", "two-stage"))


@dataclass(frozen=True)
class Sitter:
    """A subject, and how like it pictures of an opened base are."""

    subject: Subject
    judge: PictureJudge

    def likeness(self, session: Session, phrase: str) -> float:
        """Mean DINO cosine of a picture of every DreamBench prompt to the photos."""
        protocol = Extent(diverse=1).subject(self.subject.noun)["diverse"]
        drawn = draw_set(session, protocol, phrase, PRESET.draw).flat
        photos = self.judge.images(self.subject.images)
        return float((self.judge.images(drawn) @ photos.T).mean())


def dreambooth(
    sitter: Sitter, photos: Path, folder: Path, scripts: Path, peer_path: str
) -> dict[str, float]:
    """Their side: the script as its README calls it, at the tuned settings."""
    noun = sitter.subject.noun
    flags = {
        "pretrained_model_name_or_path": find(BASE).folder,
        "instance_data_dir": photos,
        "instance_prompt": f"a photo of {DREAMBOOTH['identifier']} {noun}",
        "class_prompt": f"a photo of a {noun}",
        "class_data_dir": folder / "class",
        "num_class_images": CLASS_IMAGES,
        "prior_loss_weight": DREAMBOOTH["prior_weight"],
        "learning_rate": DREAMBOOTH["lr"],
        "max_train_steps": STEPS,
        "resolution": 64,
        "train_batch_size": 1,
        "lr_scheduler": "constant",
        "lr_warmup_steps": 0,
        "checkpointing_steps": 100000,
        "output_dir": folder / "dreambooth",
        "seed": 0,
        "with_prior_preservation": True,
    }
    script = str(scripts.resolve() / "train_dreambooth.py")
    marks = timed([script, *words(flags)], folder, peer_path)
    with Session(open_base(str(folder / "dreambooth"), device="cpu")) as session:
        likeness = sitter.likeness(session, f"{DREAMBOOTH['identifier']} {noun}")
    return {"seconds": marks["whole_seconds"], "dino": likeness, "steps": STEPS}


def two_stage(sitter: Sitter, photos: Path, folder: Path, goal: float) -> dict[str, float]:
    """Our side: the preset, judged afterwards at every checkpoint until one is as good."""
    out = folder / "two-stage"
    flags = {
        "noun": sitter.subject.noun,
        "base": BASE,
        "device": "cpu",
        "out": out,
        "checkpoint-every": CHECKPOINT_EVERY,
        "choose": "last",
        "previews": "none",
    }
    marks = timed(["-m", "rarebooth", "train", str(photos), *words(flags)], folder)
    closing = marks["whole_seconds"] - marks["steps"][-1]
    reached: dict[str, float] = {}
    with Session(open_base(BASE, device="cpu")) as session:
        for step in range(CHECKPOINT_EVERY, TWO_STAGE["steps"] + 1, CHECKPOINT_EVERY):
            (phrase,), _ = wear(session, out / "checkpoints" / str(step) / "subject.safetensors")
            seconds = marks["steps"][step - TWO_STAGE["steps"] - 1] + closing
            likeness = sitter.likeness(session, phrase)
            reached = {"seconds": seconds, "dino": likeness, "steps": step}
            if likeness >= goal:
                break
    return reached


def main() -> None:
    """Measure one subject, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--scripts", type=Path, required=True)
    parser.add_argument("--peer-path", default="")
    parser.add_argument("--subject", default="dog_1")
    asked = parser.parse_args()
    individual = find_subject(asked.subject)
    record: dict[str, Any] = json.loads(LIKENESS.read_text("utf-8")) if LIKENESS.is_file() else {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        photos = folder / "photos"
        base = open_base(BASE, device="cpu")
        write_photos(individual, photos, base.size)
        (photos / "subject.toml").unlink()  # the script takes every file for a photo
        subject = read_folder(photos, individual.toy, base.size)
        sitter = Sitter(subject, open_judges(BASE, "cpu").dino)
        other = dreambooth(sitter, photos, folder, asked.scripts, asked.peer_path)
        own = two_stage(sitter, photos, folder, other["dino"])
    record[asked.subject] = {"machine": machine(), "ours": own, "theirs": other}
    LIKENESS.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    renew()


if __name__ == "__main__":
    main()
