"""Draw every method's subject side by side on the embedded base, for validation subjects.

    python benchmarks/side_by_side.py OUT_FOLDER [--subjects teapot_1 ...] [--methods ...]

Each method learns each subject with the embedded base's preset and is drawn with the same seeds:
the simple prompt, three scenes that no photo shows, and the plain class. One sheet a subject, one
JSON record a subject and method; what is there already is not done again. HiPer and Imagic learn
the first photo alone; Imagic's target is the first scene, and the others are drawn with it too.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from rarebooth import sample
from rarebooth.base import Base, Session
from rarebooth.bases import open_base
from rarebooth.catalogue import cost
from rarebooth.class_images import Cached, Drawing, cache_folder
from rarebooth.delta import Delta
from rarebooth.method import Method
from rarebooth.methods import TABLE
from rarebooth.methods import find as find_method
from rarebooth.metrics.asked import Asked, asked
from rarebooth.metrics.palette import truth
from rarebooth.prompts import PLAIN
from rarebooth.run import Run
from rarebooth.settings import preset_for, resolve
from rarebooth.sheet import Row, contact_sheet
from rarebooth.subject import Subject, read_folder
from rarebooth.tokens import fill
from rarebooth.world.subjects import VALIDATION, find, write_photos

SCENES = ("in the snow", "on the beach", "on a cobblestone street")
TEMPLATES = (PLAIN, *(f"{PLAIN} {scene}" for scene in SCENES))
TARGET = TEMPLATES[1]
"""What Imagic is told that the photo shall become."""

CLASS_PICTURES = 2
FIRST_SEED = 700
SUBJECTS = ("teapot_1", "dog_1", "backpack_1")


def preset_method(name: str) -> Method:
    """A method with the settings that ``rarebooth train --base embedded`` gives it."""
    given = {"noun": "toy", "base": "embedded", "method": name}
    return resolve(find_method(name), given, {}, {}, preset_for("embedded")).method


def learn(base: Base, method: Method, subject: Subject) -> Delta:
    """What a method learns of a subject; class images come from the cache."""
    drawing = Drawing(**preset_for("embedded").draw.options)
    images = Cached(folder=cache_folder(os.environ), drawing=drawing)
    with Session(base) as session:
        steps = method.fit(session, [subject], Run(seed=0, class_images=images))
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value


def drawn(base: Base, delta: Delta, prompts: Sequence[str], first: int) -> np.ndarray:
    """One picture a prompt, with seeds counted from ``first``."""
    with Session(base) as session:
        session.wear(delta)
        seeds = range(FIRST_SEED + first, FIRST_SEED + first + len(prompts))
        return sample.draw(session, prompts, seeds, **preset_for("embedded").draw.options)


def row(base: Base, name: str, subject: Subject) -> tuple[np.ndarray, dict[str, Any]]:
    """A method's pictures of a subject, and what they cost."""
    method = preset_method(name)
    if name == "imagic":
        method = replace(method, prompt=TARGET)
    began = time.monotonic()
    delta = learn(base, method, subject)
    seconds = time.monotonic() - began
    phrase = delta.phrases[0]
    pictures = drawn(base, delta, [fill(template, phrase) for template in TEMPLATES], 0)
    plain = drawn(base, delta, [f"a photo of a {subject.noun}"] * CLASS_PICTURES, len(TEMPLATES))
    spent = cost(method)
    about = {
        "seconds": round(seconds, 1),
        "samples through the U-Net": spent.samples,
        "class images": spent.class_images,
    }
    return np.concatenate([pictures, plain]), about


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--subjects", nargs="+", default=SUBJECTS, choices=[each.name for each in VALIDATION]
    )
    parser.add_argument("--methods", nargs="+", default=list(TABLE), choices=list(TABLE))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    base = open_base("embedded")
    for subject_name in arguments.subjects:
        individual = find(subject_name)
        with TemporaryDirectory() as folder:
            write_photos(individual, Path(folder), base.size)
            subject = read_folder(Path(folder), individual.toy, base.size)
        truths = [truth(individual, Asked(), base.size)]
        truths += [truth(individual, asked(template), base.size) for template in TEMPLATES[1:]]
        noun = f"a {subject.noun}"
        untouched = drawn(
            base,
            Delta(()),
            [fill(template, noun) for template in TEMPLATES] + [f"a photo of {noun}"] * 2,
            0,
        )
        rows = [
            Row(f"photos of {noun}", subject.images),
            Row("the base, asked for the class", untouched),
        ]
        for name in arguments.methods:
            record = arguments.out / f"{subject_name}-{name}.json"
            picture = record.with_suffix(".png")
            if not record.exists():
                pictures, about = row(base, name, subject)
                placed = [t.placed(t.overlap(p)) for t, p in zip(truths, pictures, strict=False)]
                plain = truths[0]
                own = [plain.placed(plain.overlap(each)) for each in pictures[len(TEMPLATES) :]]
                about |= {
                    "simple": round(placed[0], 3),
                    "scenes": round(float(np.mean(placed[1:])), 3),
                    "class": round(float(np.mean(own)), 3),
                    "base": base.identity.digest,
                    "threads": torch.get_num_threads(),
                }
                Image.fromarray(np.concatenate(list(pictures), 1)).save(picture)
                record.write_text(json.dumps(about, indent=1) + "\n", "utf-8")
            known = json.loads(record.read_text("utf-8"))
            strip = np.asarray(Image.open(picture))
            pictures = np.stack(np.split(strip, strip.shape[1] // strip.shape[0], 1))
            label = (
                f"{name}: {known['seconds']:.0f} s, {known['samples through the U-Net']} samples"
            )
            rows.append(Row(label, pictures))
        captions = ["simple prompt", *SCENES, "the class alone", "the class alone"]
        contact_sheet(rows, captions).save(arguments.out / f"{subject_name}.png")


if __name__ == "__main__":
    main()
