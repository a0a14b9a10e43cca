"""Strings that become paths, with whatever is in them: nothing outside is read or written."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from judging import JUDGES
from rarebooth import artifact, hub, store
from rarebooth.artifact import Header
from rarebooth.class_images import CACHE, Cached
from rarebooth.delta import Delta
from rarebooth.errors import RareboothError
from rarebooth.exporting import export
from rarebooth.folder import RunFolder, subject_file
from rarebooth.pictures import picture_name, save_png
from test_checking import ELSEWHERE
from training_jobs import finish

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


INSTALLED = tuple(
    f"{os.path.realpath(each)}/" for each in (sys.prefix, sys.base_prefix, *filter(None, sys.path))
)
"""Where code is loaded from."""

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = {"os.mkdir": 2, "os.remove": 1, "os.rmdir": 1}
"""Events that change a folder, and where they say to which open one a path is relative."""


@dataclass
class Watch:
    """Notes what is written, made, moved or removed outside the allowed folders.

    ``reading``: whether to note, too, what is only read outside them, but for code.
    """

    allowed: tuple[str, ...] = ()
    reading: bool = False
    outside: list[str] | None = None

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        if self.outside is None:
            return
        if event == "open" and isinstance(given[2], int):
            writes = bool(given[2] & WRITES)
            if writes or self.reading:
                follows = not given[2] & getattr(os, "O_NOFOLLOW", 0)
                self.note(given[0], follows=follows, also=() if writes else INSTALLED)
        elif event in {"os.listdir", "os.scandir"} and self.reading:
            self.note(given[0], also=INSTALLED)
        elif event in CHANGES:
            self.note(given[0], given[CHANGES[event]], follows=False)
        elif event in {"os.chmod", "os.truncate"}:
            self.note(given[0])
        elif event == "os.rename":
            self.note(given[0], given[2], follows=False)
            self.note(given[1], given[3], follows=False)
        elif event in {"os.link", "os.symlink"}:  # what a link leads to is not touched by making it
            self.note(given[1], given[-1], follows=False)

    def note(
        self, path: Any, at: int = -1, *, follows: bool = True, also: tuple[str, ...] = ()
    ) -> None:
        """``at``: the open folder that ``path`` is relative to. ``follows``: a link, at its end."""
        if self.outside is None or isinstance(path, int) or path is None:
            return
        above = Path.cwd() if at == -1 else Path(f"/proc/self/fd/{at}")
        named = above / os.fsdecode(path)
        place = os.path.realpath(named if follows else named.parent)
        found = place if follows else f"{place}/{named.name}"
        if not f"{found}/".startswith((*self.allowed, *also, "/dev/", "/proc/")):
            self.outside.append(found)


@contextmanager
def watching(*allowed: Path, reading: bool = False) -> Generator[list[str]]:
    """Gives the list of what is done outside the allowed folders meanwhile."""
    watch.allowed = tuple(f"{os.path.realpath(each)}/" for each in allowed)
    watch.reading = reading
    watch.outside = noted = []
    try:
        yield noted
    finally:
        watch.outside = None


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


def recorded(text: str, folder: Path) -> None:
    """A checkpoint that ``run.json`` recommends, when a run goes on."""
    from rarebooth.record import RunRecord

    run: Any = SimpleNamespace(folder=RunFolder(folder))
    assert RunRecord(run, {"recommended": text}, 0).recommended is None


def scored(text: str, folder: Path) -> None:
    """A checkpoint that ``scores.json`` tells of, in a report."""
    from rarebooth.reporting import make_report

    save_png(RunFolder(folder).crop(1, 1), Image.new("RGB", (8, 8)), {})
    about = {"validation": {}, "scores": {}}
    scores = {"noun": "dog", "base": {"name": text}, "extent": {}, "checkpoints": {text: about}}
    RunFolder(folder).scores.write_text(json.dumps({**scores, "recommended": text}), "utf-8")
    make_report([folder], folder / "report.html")


def example(text: str, folder: Path) -> None:
    """A subject in the package, as ``demo`` takes it: what is none is refused by name."""
    from rarebooth.cli import demo

    demo.command(text, folder / "run")


def base_name(text: str, folder: Path) -> None:
    """The base that a subject file names, which is looked for when the subject is drawn."""
    from rarebooth.drawing import generate

    header = Header(replace(ELSEWHERE, name=text), "two-stage", {}, 3, ("dog",), "{}", 32, "400")
    delta = Delta(("(rare) dog",), {"(rare)": torch.ones(1, 32)}, {})
    artifact.save(folder / "subject.safetensors", delta, header)
    generate(folder / "subject.safetensors", ["a photo of {}"], folder / "out")


def default_run(text: str, folder: Path) -> None:
    """The folder of photos, which the run's folder is named after where nobody names one."""
    from rarebooth.plan import draft

    photos = folder / "a" / "b" / text.replace("/", "_")  # no folder's name can hold a slash
    with suppress(OSError, ValueError):  # whoever can give it such a name
        photos.mkdir(parents=True)
        Image.new("RGB", (64, 64)).save(photos / "1.png")
    planned = draft(photos, {"noun": "dog", "base": "sd21"}).folder.path
    assert planned.parent == Path("runs")
    assert ".." not in planned.parts


def manifest(text: str, folder: Path) -> None:
    """A file that a state's manifest names."""
    state = folder / "state" / "token-00000001"
    state.mkdir(parents=True)
    said = {"stage": "token", "done": 1, "sha256": {text: "0"}}
    (state / store.MANIFEST).write_text(json.dumps(said), "utf-8")
    assert store.load_state(folder / "state") == (None, [state.name])


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
        recorded,
        scored,
        example,
        base_name,
        default_run,
        manifest,
    )
}


def payload(number: int) -> str:
    """One of many strings: a bad one by itself, or with something before or behind it."""
    seed = SEEDS[number % len(SEEDS)]
    return (seed, f"a{seed}", f"{seed}.safetensors", f"200/{seed}")[number // len(SEEDS) % 4]


@pytest.mark.trials("R15", "hostile strings where a path is made of one", quick=6, full=128)
@pytest.mark.parametrize("place", PLACES)
def test_nothing_outside_is_touched(place, trials, tmp_path, monkeypatch):
    # What reads as a Hub id is looked up in the user's own list of those that were fetched.
    monkeypatch.setattr(hub, "user_folder", lambda: tmp_path / "of the user")
    refused = 0
    for trial in trials:
        with trial as number:
            text = payload(number * (1 if trials.count > 6 else 23))
            folder = tmp_path / str(number)
            folder.mkdir()
            before = set(tmp_path.iterdir())
            with watching(folder, tmp_path / "of the user", reading=True) as outside:
                try:
                    PLACES[place](text, folder)
                except RareboothError:
                    refused += 1
            assert outside == [], text
            assert set(tmp_path.iterdir()) == before
    trials.figure(f"{refused} refused, the others harmless")


@pytest.mark.parametrize("reading", [False, True])
def test_what_is_done_outside_is_noticed(tmp_path, reading):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "a").write_text("", "utf-8")
    (inside / "link").symlink_to(outside)
    with watching(inside, reading=reading) as noted:
        (inside / "b").write_text("", "utf-8")
        (inside / "b").unlink()
        (inside / "link" / "a").read_text("utf-8")
        assert noted == ([str(outside / "a")] if reading else [])
        for act in (
            lambda: (inside / "link" / "b").write_text("", "utf-8"),
            lambda: (outside / "b").rename(inside / "b"),
            lambda: (inside / "b").rename(inside / "link" / "b"),
            lambda: shutil.rmtree(outside),
        ):
            del noted[:]
            act()
            assert noted


LINKS = (
    *("run.json", "state", "checkpoints", "photos", "evaluation", "steps.jsonl", "scores.json"),
    *("subject.safetensors", "photos.png", "contact-sheet.png", store.LOCK, store.OWNER),
)


@pytest.mark.trials("R15", "links in a run folder: none is written through", quick=12, full=12)
def test_no_link_is_written_through(trials, job, tmp_path):
    refused = 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for trial in trials:
        with trial as number:
            entry, made = LINKS[number], job(f"run-{number}")
            made.folder.path.mkdir()
            (made.folder.path / entry).symlink_to(elsewhere / entry)
            with watching(made.folder.path) as outside:
                try:
                    finish(made)
                except RareboothError:
                    refused += 1
            assert outside == [], entry
            assert not any(elsewhere.iterdir()), entry
    trials.figure(f"{refused} refused, the others replaced")


@pytest.mark.trials(
    "R15",
    "train, draw, evaluate, report and export: written to their own folders alone",
    quick=1,
    full=4,
)
@pytest.mark.usefixtures("quick_drawing")
def test_whole_jobs_write_into_their_own_folders(
    trials, photos, tiny_folder, tmp_path, monkeypatch, capsys
):
    from rarebooth import evaluation, reporting, training
    from rarebooth.cli.app import run
    from rarebooth.protocols import Extent

    for module in (evaluation, reporting, training):
        monkeypatch.setattr(module, "open_judges", lambda *_: JUDGES)
    tiny = Extent(diverse=1, simple=1, validation=1, others=1)
    monkeypatch.setattr(evaluation, "Extent", lambda: tiny)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    cache = tmp_path / "cache"
    monkeypatch.setenv(CACHE, str(cache))
    base, methods = (
        str(tiny_folder()),
        ("two-stage", "dreambooth", "custom-diffusion", "dreambooth-lora"),
    )
    for trial in trials:
        with trial as number:
            own = tmp_path / str(number)
            home, forms = own / "run", own / "diffusers"
            own.mkdir()
            words = ["train", str(photos), "--noun", "dog", "--base", base, "--device", "cpu"]
            words += ["--method", methods[number], "--prior", "true", "--class-images", "2"]
            words += ["--steps", "2", "--checkpoint-every", "1", "--save-state-every", "1"]
            words += ["--token-steps", "2"] if number == 0 else []
            words += ["--initial-word", "sks"] if number == 2 else []
            drawn = ["generate", str(home), "a photo of {}", "--base", base, "--steps", "1"]
            with watching(home, cache) as outside:
                assert run([*words, "--out", str(home)]) == 0
                assert run([*drawn, "--out", str(home / "drawn")]) == 0
                evaluation.evaluate(home, base=base, device="cpu")
                assert run(["report", str(home)]) == 0
            assert set(outside) <= {str(own)}  # where the quote tries the disk with a nameless file
            with watching(forms, own / f".{forms.name}.part") as outside:
                made = ["export", str(home), "--base", base, "--to", "diffusers"]
                assert run([*made, "--out", str(forms)]) == 0
            # Beside the export there is its lock; that the folder of both is there is made sure of.
            assert set(outside) <= {str(own / f".{forms.name}.lock"), str(own)}
            assert any(cache.iterdir())
            capsys.readouterr()
