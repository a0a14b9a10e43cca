"""Secrets, places and names of this machine: in nothing that a run or an export holds."""

import getpass
import io
import os
import platform
import socket
import zlib
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import children
from children import ended, started, wait_until
from judging import JUDGES
from rarebooth.cli.app import run
from rarebooth.methods import TABLE
from rarebooth.store import OWNER

TOKEN = "hf_ThisMustNeverBeWrittenAnywhere123"
HOST = "janes-own-laptop"
CAMERA, PLACE = "SecretCamera3000", b"48.8584"


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    """A folder whose name tells who somebody is, with photos that tell where they were taken."""
    home = tmp_path / "home of jane doe" / "private"
    folder = home / "pets"
    folder.mkdir(parents=True)
    dice = np.random.default_rng(0)
    for number in range(4):
        picture = Image.fromarray(dice.integers(0, 255, (72, 80, 3), dtype=np.uint8))
        exif = Image.Exif()
        exif[0x0110] = CAMERA
        exif.get_ifd(0x8825)[2] = (48.0, 51.0, 30.24)
        exif[0x010E] = PLACE.decode()
        picture.save(folder / f"IMG_{number}.jpg", exif=exif, comment=PLACE)
    on_her_machine(home, monkeypatch)
    return folder


def on_her_machine(home, patch):
    """Makes this process one of jane's."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        patch.setenv(name, TOKEN)
    patch.setenv("HOME", str(home))
    for module, name in ((platform, "node"), (socket, "gethostname")):
        patch.setattr(module, name, lambda: HOST)
    patch.chdir(home)


@pytest.fixture
def secrets(tmp_path):
    """What must stand nowhere, by what it is."""
    return {
        "the Hub's token": TOKEN.encode(),
        "the camera": CAMERA.encode(),
        "the place": PLACE,
        "a path of this machine": str(tmp_path.parent).encode(),
        "the owner": b"jane doe",
        "the host": HOST.encode(),
        "the user": f"/{getpass.getuser()}/".encode(),
        "an Exif block": b"Exif\x00\x00",
    }


def search(folder, secrets):
    """Finds no secret in a folder; how many files and texts were searched."""
    texts = list(everything(folder))
    for path, content in texts:
        for what, secret in secrets.items():
            # Who waits for a run must be told which machine holds it, and no export takes this.
            told = what == "the host" and path.name == OWNER
            assert told or secret not in content, (what, path.name)
    assert texts
    return len(texts)


def everything(folder: Path):
    """All files of a folder with their content, and that of the compressed texts of PNGs."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            yield path, content
            if content.startswith(b"\x89PNG"):
                with Image.open(io.BytesIO(content)) as picture:
                    yield path, repr(picture.info).encode()
            if path.suffix in {".gz", ".zip"}:
                yield path, zlib.decompress(content, 47)


METHODS = {
    "two-stage": ("--token-steps", "2"),
    "dreambooth-lora": (),
    "textual-inversion": (),
    "custom-diffusion": ("--prior", "false", "--initial-word", "sks"),
    "dreambooth": ("--prior", "false"),
    "hiper": (),
    "imagic": ("--embedding-steps", "2"),
    "pivotal-lora": ("--token-steps", "2"),
}
"""Every method, and what makes two steps of it quick."""
WITH_A_WORD = {"two-stage", "textual-inversion", "custom-diffusion", "pivotal-lora"}
"""Those that learn a word, which can be exported by itself."""
STEERING = {"hiper", "imagic"}
"""Those that change a prompt after it is encoded, which no folder of a model can say."""


def train(photos, base, out, method, *more):
    """Train a method for two steps."""
    words = ["train", str(photos), "--noun", "dog", *base, "--method", method, "--device", "cpu"]
    words += ["--choose", "last", "--steps", "2", "--checkpoint-every", "1", *METHODS[method]]
    assert run([*words, *more, "--out", str(out)]) == 0


def test_every_method_is_searched():
    assert METHODS.keys() == TABLE.keys()


@pytest.mark.trials("R22", "train, draw, score, report and export, then searched", quick=2, full=8)
@pytest.mark.usefixtures("quick_drawing")
def test_nothing_tells_of_the_machine_or_its_owner(
    trials, somewhere, secrets, tiny_folder, tmp_path, capsys, monkeypatch
):
    from rarebooth import evaluation, reporting

    for module in (evaluation, reporting):
        monkeypatch.setattr(module, "open_judges", lambda *_: JUDGES)
    base, searched = ["--base", str(tiny_folder())], 0
    for trial in trials:
        with trial as number:
            method = list(METHODS)[number]
            out = tmp_path / f"{number}"
            train(somewhere, base, out / "run", method)
            drawn = ["generate", str(out / "run"), "a photo of {} in the snow", *base]
            assert run([*drawn, "--steps", "1"]) == 0
            export = ["export", str(out / "run"), *base, "--to"]
            code = 2 if method in STEERING else 0
            assert run([*export, "diffusers", "--out", str(out / "diffusers")]) == code
            code = 0 if method in WITH_A_WORD else 2
            assert run([*export, "embedding", "--out", str(out / "embedding")]) == code
            scored = ["evaluate", str(out / "run"), *base, "--device", "cpu"]
            assert run(scored) == 0
            assert run(["report", str(out / "run"), "--out", str(out / "report.html")]) == 0
            said = capsys.readouterr()
            assert TOKEN not in said.out + said.err
            searched += search(out, secrets)
    trials.figure(f"{searched} files and texts searched")


def merged(photos, base, out, monkeypatch):
    """Two subjects, and the file of both."""
    runs = [out / "one", out / "other"]
    for place, noun, word in zip(runs, ("dog", "cat"), ("sks", "red"), strict=True):
        # The last of a flag that is given twice is what counts.
        own = ("--noun", noun, "--initial-word", word, "--previews", "none")
        train(photos, base, place, "custom-diffusion", *own)
    words = ["merge", *map(str, runs), *base, "--device", "cpu"]
    assert run([*words, "--out", str(out / "both.safetensors")]) == 0


def diagnosed(photos, base, out, monkeypatch):
    """What a bug report is to hold."""
    from huggingface_hub import constants

    from rarebooth import settings

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(out / "of jane doe"))
    whole = settings.preset_for
    draw = replace(whole("embedded").draw, sampler_steps=1)
    monkeypatch.setattr(settings, "preset_for", lambda name: replace(whole(name), draw=draw))
    with io.StringIO() as said, redirect_stdout(said), redirect_stderr(said):
        assert run(["doctor", "--json"]) == 0
        out.mkdir()
        (out / "doctor.json").write_text(said.getvalue(), "utf-8")


BENCH = """
base = "{base}"
subjects = "miniature"
only = ["dog"]
extent = {{ diverse = 1, simple = 1, validation = 1, others = 1 }}
draw = {{ sampler_steps = 1 }}
pictures = {{ subjects = ["dog"] }}
[entries.learnt]
method = "two-stage"
settings = {{ token_steps = 1 }}
checkpoints = [1]
fixed = 1
[entries.failed]
method = "textual-inversion"
checkpoints = [1]
fixed = 1
"""


def _without_renders(photographed, spec, size):
    return replace(photographed(spec, size), individual=None)


def benchmarked(photos, base, out, monkeypatch):
    """A job that is done and one that fails, their records, and tables of them."""
    from rarebooth.bench import job, running
    from rarebooth.errors import ResourceError
    from rarebooth.methods.textual_inversion import TextualInversion

    def fail(*_):
        raise ResourceError(f"Nothing can be kept in {out}.") from OSError(28, "no", str(out))

    monkeypatch.setattr(TextualInversion, "fit", fail)
    monkeypatch.setattr(running, "fetch_judges", lambda *_: None)
    monkeypatch.setattr(job, "_judges", lambda *_: JUDGES)
    monkeypatch.setattr(job, "photographed", partial(_without_renders, job.photographed))
    monkeypatch.setenv("RAREBOOTH_CACHE", str(photos.parent / "cache"))
    plan = photos.parent / "plan.toml"
    plan.write_text(BENCH.format(base=base[1]), "utf-8")
    words = ["bench", str(plan), "--records", str(out / "records"), "--executor", "inline"]
    assert run(words) == 1  # a job failed
    found = [path.read_text("utf-8") for path in (out / "records").iterdir()]
    assert sorted('"failed"' in each.split('"body"')[0] for each in found) == [False, True]


def train_as_she(home, words, said):
    """Trains in a process of its own, on jane's machine."""
    with pytest.MonkeyPatch.context() as patch:
        on_her_machine(home, patch)
        children.run(words, said)


def killed(photos, base, out, monkeypatch):
    """A run that is killed while it writes its states."""
    words = ["train", str(photos), "--noun", "dog", *base, "--device", "cpu", "--choose", "last"]
    words += ["--token-steps", "2000", "--save-state-every", "1", "--previews", "none"]
    said = out.with_suffix(".txt")
    process = started(train_as_she, photos.parent, [*words, "--out", str(out)], str(said))
    wait_until(lambda: len(list(out.glob("state/*"))) > 1, process)
    wait_until(lambda: any(out.glob("state/.part-*/*")), process)
    process.kill()
    assert ended(process) == -9, said.read_text("utf-8")


LEFT = (diagnosed, killed, merged, benchmarked)


@pytest.mark.slow
@pytest.mark.trials("R22", "what merge, doctor, bench and a kill leave", quick=2, full=4)
def test_nothing_else_that_is_left_tells_of_them(
    trials, somewhere, secrets, tiny_folder, tmp_path, monkeypatch
):
    base, searched = ["--base", str(tiny_folder())], 0
    for trial in trials:
        with trial as number:
            out = tmp_path / f"{number}"
            with monkeypatch.context() as patch:
                LEFT[number](somewhere, base, out, patch)
            searched += search(out, secrets)
    trials.figure(f"{searched} files and texts searched")


def test_the_environment_is_as_it_was():
    assert os.environ.get("HF_TOKEN") != TOKEN


@pytest.mark.parametrize("place", ["home", "cache", "elsewhere"])
def test_a_run_that_fails_does_not_say_where(place, somewhere, tiny_folder, tmp_path, monkeypatch):
    from rarebooth.errors import DivergedError, ResourceError
    from rarebooth.methods.two_stage import TwoStage

    cache = tmp_path / "cache of jane doe" / "my pictures"
    monkeypatch.setenv("RAREBOOTH_CACHE", str(cache))
    other = tmp_path / "jane doe" / "some disk"
    where = {"home": somewhere.parent / "a b", "cache": cache / "dog 12", "elsewhere": other}[place]

    def fail(*_):
        raise ResourceError(f"Nothing can be kept in {where}: no.") from OSError(28, "no", where)

    def unquoted(_):
        raise DivergedError

    monkeypatch.setattr(TwoStage, "fit", fail)
    monkeypatch.setattr("rarebooth.cli.job.quote", unquoted)
    out = tmp_path / "out"
    words = ["train", str(somewhere), "--noun", "dog", "--base", str(tiny_folder())]
    words += ["--method", "two-stage", "--device", "cpu", "--choose", "last", "--out", str(out)]
    assert run(words) == 4
    record = (out / "run.json").read_text()
    assert "Nothing can be kept in ..." in record
    for secret in ("jane", "doe", "my pictures", "some disk", str(tmp_path)):
        assert secret not in record
