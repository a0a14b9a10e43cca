"""Strings that become paths, with whatever is in them: nothing outside is written, or named."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from rarebooth import artifact, hub
from rarebooth.artifact import Header
from rarebooth.class_images import Cached
from rarebooth.delta import Delta
from rarebooth.errors import RareboothError
from rarebooth.exporting import export
from rarebooth.folder import RunFolder, subject_file
from rarebooth.pictures import picture_name
from test_checking import ELSEWHERE

SEEDS = (
    "..",
    "../x",
    "../../../../tmp/x",
    "..\\..\\x",
    "/etc/passwd",
    "//server/share",
    "\\\\server\\share",
    "C:\\Windows\\x",
    "C:x",
    "%2e%2e/x",
    "%2e%2e%2fx",
    "..%c0%af",
    "....//x",
    "./../x",
    "x/../../y",
    "~root/x",
    "$HOME/x",
    "`id`",
    "x\0y",
    "x\ny",
    "CON",
    "nul.txt",
    "COM1",
    "x" * 400,
    "\u202egnp.exe",
    "a\uff0fb",
    "x:y",
    "x|y",
    "-rf",
    ".hidden",
    " ",
    "\N{SNOWMAN}" * 120,
)


@dataclass
class Watch:
    """Notes what is opened for writing, made, moved or removed outside an allowed folder."""

    allowed: Path | None = None
    outside: list[str] | None = None

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        if self.allowed is None or self.outside is None:
            return
        paths: list[Any] = []
        if event == "open" and isinstance(given[2], int):
            writes = given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            paths = [given[0]] if writes else []
        elif event in {"os.mkdir", "os.remove", "os.rmdir", "os.truncate"}:
            paths = [given[0]]
        elif event in {"os.rename", "os.link", "os.symlink"}:
            paths = list(given[:2])
        for path in paths:
            if isinstance(path, int):
                continue
            place = os.path.realpath(os.fsdecode(path))
            if not place.startswith((str(self.allowed), "/dev/", "/proc/")):
                self.outside.append(place)


watch = Watch()
sys.addaudithook(watch)  # never to be removed; it looks only while a test asks it to


def checkpoint(text: str, folder: Path) -> None:
    """A checkpoint's name, as ``generate`` takes it."""
    subject_file(folder, text)


def written_checkpoint(text: str, folder: Path) -> None:
    """A checkpoint's name, where a run would write it."""
    RunFolder(folder).checkpoint(text).parent.mkdir(parents=True)


def token(text: str, folder: Path) -> None:
    """A new word, which becomes the name of an embedding's file."""
    header = Header(ELSEWHERE, "two-stage", {}, 3, ("dog",), "a photo of {}", 32, "400")
    delta = Delta((f"{text} dog",), {text: torch.ones(1, 32)}, {})
    artifact.save(folder / "subject.safetensors", delta, header)
    export(folder / "subject.safetensors", "embedding", folder / "out")


def noun(text: str, folder: Path) -> None:
    """A class noun, which stands in the same name."""
    header = Header(ELSEWHERE, "two-stage", {}, 3, (text,), "a photo of {}", 32, "400")
    delta = Delta((f"(rare) {text}",), {"(rare)": torch.ones(1, 32)}, {})
    artifact.save(folder / "subject.safetensors", delta, header)
    export(folder / "subject.safetensors", "embedding", folder / "out")


def prompt(text: str, folder: Path) -> None:
    """A prompt, which a picture's file is named after."""
    told = {"prompt": text, "checkpoint": "400", "seed": "1"}
    (folder / picture_name(told)).write_bytes(b"picture")


def class_prompt(text: str, folder: Path) -> None:
    """The prompt of class images, which their folder is named after."""
    from rarebooth.base import Session
    from toy_base import ToyBase

    Cached(folder=folder).place(Session(ToyBase()), text).mkdir()


def index(text: str, folder: Path) -> None:
    """A file that a base's index names, to be read as weights."""
    part = folder / "unet"
    part.mkdir()
    (part / "diffusion_pytorch_model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": text}}), "utf-8"
    )
    for found in hub.weight_files(folder, "unet"):
        assert found.resolve().is_relative_to(folder.resolve())


def offered(text: str, folder: Path) -> None:
    """A file that a repository on the Hub offers."""
    names = ["model_index.json", f"unet/{text}.json", f"{text}/x.json"]
    weights = [f"{part}/{stem}.safetensors" for part, stem in hub.WEIGHTS.items()]
    for name in hub._wanted("owner/model", [*names, *weights]):
        (folder / name).resolve().relative_to(folder.resolve())


def label(text: str, folder: Path) -> None:
    """An entry of a benchmark's plan, which its records are named after."""
    from bench_jobs import PLAN
    from rarebooth.bench.plan import read_plan
    from rarebooth.bench.record import Records

    named = PLAN.replace("entries.ours", f"entries.{json.dumps(text)}")
    (folder / "plan.toml").write_text(named, "utf-8")
    plan = read_plan(folder / "plan.toml")
    records = Records(folder / "records", {"base": "digest"})
    (folder / "records").mkdir()
    for job in plan.jobs[:1]:
        records.path(job).write_text("{}", "utf-8")


PLACES: dict[str, Callable[[str, Path], None]] = {
    each.__name__: each
    for each in (
        checkpoint,
        written_checkpoint,
        token,
        noun,
        prompt,
        class_prompt,
        index,
        offered,
        label,
    )
}


def payload(number: int) -> str:
    """One of many strings: a bad one by itself, or with something before or behind it."""
    seed = SEEDS[number % len(SEEDS)]
    return (seed, f"a{seed}", f"{seed}.safetensors", f"200/{seed}")[number // len(SEEDS) % 4]


@pytest.mark.trials("R15", "hostile strings where a path is made of one", quick=6, full=128)
@pytest.mark.parametrize("place", PLACES)
def test_nothing_outside_is_written(place, trials, tmp_path):
    refused = 0
    for trial in trials:
        with trial as number:
            text = payload(number * (1 if trials.count > 6 else 23))
            folder = tmp_path / str(number)
            folder.mkdir()
            watch.allowed, watch.outside = tmp_path.resolve(), []
            try:
                PLACES[place](text, folder)
            except RareboothError:
                refused += 1
            finally:
                outside, watch.outside, watch.allowed = watch.outside, None, None
            assert outside == [], text
            everything = {path.resolve() for path in tmp_path.rglob("*")}
            own = {path for path in everything if path.is_relative_to(folder.resolve())}
            before = {path for path in everything if path.parts[len(tmp_path.parts)] != str(number)}
            assert everything == own | before
    trials.figure(f"{refused} refused, the others harmless")
