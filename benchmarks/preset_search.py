"""Search a method's preset for the embedded base, on validation subjects only.

    python benchmarks/preset_search.py benchmarks/records/preset-NAME.json --method NAME --grid FILE

Each setting is tried on every validation subject; a checkpoint is scored as training passes it. A
setting that is already in the record is not run again, so that a killed search continues. Scores:
``placed``, the colours of the subject in six scenes between floor (0) and ceiling (1); ``leak``,
the same for pictures of the plain class, less what the base itself gives: how far the class has
turned into the subject.
"""

import argparse
import itertools
import json
import os
import time
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from rarebooth import prompts, sample
from rarebooth.base import Base, Session
from rarebooth.bases import open_base
from rarebooth.class_images import Cached, Drawing, cache_folder
from rarebooth.delta import Delta
from rarebooth.method import Method
from rarebooth.methods import find as find_method
from rarebooth.methods import names
from rarebooth.metrics.asked import Asked, asked
from rarebooth.metrics.palette import Truth, truth
from rarebooth.run import Run
from rarebooth.settings import preset_for
from rarebooth.subject import Subject, read_folder
from rarebooth.tokens import fill
from rarebooth.world.subjects import VALIDATION, find, write_photos

PICTURES = 1
CLASS_PICTURES = 6
FIRST_SEED = 500


def pictures(session: Session, templates: list[str], phrase: str, count: int) -> np.ndarray:
    """``count`` pictures of each template, with fixed seeds, as the preset draws."""
    draw = preset_for("embedded").draw
    asked = [fill(template, phrase) for template in templates for _ in range(count)]
    seeds = [FIRST_SEED + index for _ in templates for index in range(count)]
    return sample.draw(session, asked, seeds, **draw.options)


def placed(drawn: np.ndarray, truths: Mapping[str, Truth], count: int) -> float:
    """Mean place between floor and ceiling of ``count`` pictures a scene."""
    per_scene = drawn.reshape(len(truths), count, *drawn.shape[1:])
    values = [
        known.placed(float(np.mean([known.overlap(picture) for picture in group])))
        for known, group in zip(truths.values(), per_scene, strict=True)
    ]
    return float(np.mean(values))


def scores(
    base: Base, delta: Delta | None, noun: str, truths: Mapping[str, Truth]
) -> dict[str, float]:
    """``placed`` in six scenes and for the plain class, wearing a subject or the base alone."""
    with Session(base) as session:
        if delta is not None:
            session.wear(delta)
        phrase = delta.phrases[0] if delta is not None else noun
        scenes = pictures(session, list(prompts.SHEET_SCENES), phrase, PICTURES)
        plain = pictures(session, [prompts.PLAIN], f"a {noun}", CLASS_PICTURES)
    own = [truths["plain"].placed(truths["plain"].overlap(picture)) for picture in plain]
    in_scenes = {scene: known for scene, known in truths.items() if scene != "plain"}
    return {"placed": placed(scenes, in_scenes, PICTURES), "class": float(np.mean(own))}


def class_images() -> Cached:
    """Class images as ``rarebooth train`` draws and keeps them on the embedded base."""
    drawing = Drawing(**preset_for("embedded").draw.options)
    return Cached(folder=cache_folder(os.environ), drawing=drawing)


def try_setting(
    base: Base, subject: Subject, truths: Mapping[str, Truth], method: Method, every: int
) -> dict[str, dict[str, float]]:
    """Train one subject with one setting and score it every so many steps of the last stage."""
    passed: dict[str, Delta] = {}
    began = time.monotonic()
    with Session(base) as session:
        for step in method.fit(session, [subject], Run(seed=0, class_images=class_images())):
            last = step.stage == method.stages[-1]
            if last and (step.done % every == 0 or step.done == step.total):
                passed[str(step.done)] = step.snapshot()
            elif not last and step.done == step.total:
                passed[step.stage] = step.snapshot()
    seconds = {"seconds": round(time.monotonic() - began, 1)}
    return {
        name: {**scores(base, delta, subject.noun, truths), **seconds}
        for name, delta in passed.items()
    }


def main() -> None:
    """Run the search."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", type=Path)
    parser.add_argument("--method", default="two-stage", choices=names())
    parser.add_argument("--grid", type=Path, help="TOML: lists of values by setting name")
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument(
        "--subjects",
        nargs="+",
        default=[subject.name for subject in VALIDATION],
        choices=[subject.name for subject in VALIDATION],
        help="so that processes can share",
    )
    parser.add_argument("--base", default="embedded")
    arguments = parser.parse_args()
    grid = tomllib.loads(arguments.grid.read_text("utf-8"))
    base = open_base(arguments.base)
    record: dict[str, Any] = {"base": base.identity.digest, "subjects": {}, "tried": {}}
    if arguments.record.exists():
        record = json.loads(arguments.record.read_text("utf-8"))
        if record["base"] != base.identity.digest:
            parser.error(f"{arguments.record} was made with another base; name a new record")
    for name in arguments.subjects:
        individual = find(name)
        truths = {s: truth(individual, asked(s), base.size) for s in prompts.SHEET_SCENES}
        truths["plain"] = truth(individual, Asked(), base.size)
        with TemporaryDirectory() as folder:
            write_photos(individual, Path(folder), base.size)
            subject = read_folder(Path(folder), individual.toy, base.size)
        before = record["subjects"].setdefault(name, {"instance": individual.instance})
        if "class" not in before:
            before.update(scores(base, None, individual.toy, truths))
        for values in itertools.product(*grid.values()):
            setting = dict(zip(grid, values, strict=True))
            key = json.dumps({"method": arguments.method, **setting}, sort_keys=True)
            runs = record["tried"].setdefault(key, {})
            if name in runs:
                continue
            method = replace(find_method(arguments.method)(), **setting)
            found = try_setting(base, subject, truths, method, arguments.every)
            runs[name] = {
                when: {
                    "placed": round(s["placed"], 4),
                    "leak": round(s["class"] - before["class"], 4),
                    "seconds": s["seconds"],
                }
                for when, s in found.items()
            }
            arguments.record.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
            print(name, key, runs[name], flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
