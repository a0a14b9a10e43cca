"""Secrets, places and names of this machine: in nothing that a run or an export holds."""

import getpass
import io
import os
import platform
import socket
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from judging import JUDGES
from rarebooth.cli.app import run

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
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", TOKEN)
    monkeypatch.setenv("HOME", str(home))
    for module, name in ((platform, "node"), (socket, "gethostname")):
        monkeypatch.setattr(module, name, lambda: HOST)
    monkeypatch.chdir(home)
    return folder


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


@pytest.mark.trials("R22", "train, draw, score, report and export, then searched", quick=1, full=4)
@pytest.mark.usefixtures("quick_drawing")
def test_nothing_tells_of_the_machine_or_its_owner(
    trials, somewhere, tiny_folder, tmp_path, capsys, monkeypatch
):
    from rarebooth import evaluation, reporting

    for module in (evaluation, reporting):
        monkeypatch.setattr(module, "open_judges", lambda *_: JUDGES)
    methods = ("two-stage", "textual-inversion", "dreambooth-lora", "custom-diffusion")
    secrets = {
        "the Hub's token": TOKEN.encode(),
        "the camera": CAMERA.encode(),
        "the place": PLACE,
        "a path of this machine": str(tmp_path).encode(),
        "the owner": b"jane doe",
        "the host": HOST.encode(),
        "the user": f"/{getpass.getuser()}/".encode(),
        "an Exif block": b"Exif\x00\x00",
    }
    searched = 0
    for trial in trials:
        with trial as number:
            method = methods[number]
            out = tmp_path / f"{number}"
            words = ["train", str(somewhere), "--noun", "dog", "--base", str(tiny_folder())]
            words += ["--method", method, "--device", "cpu", "--choose", "last"]
            words += ["--steps", "2", "--checkpoint-every", "1"]
            words += ["--token-steps", "2"] if method == "two-stage" else []
            if method == "custom-diffusion":
                words += ["--prior", "false", "--initial-word", "sks"]
            assert run([*words, "--out", str(out / "run")]) == 0
            base = ["--base", str(tiny_folder())]
            drawn = ["generate", str(out / "run"), "a photo of {} in the snow", *base]
            assert run([*drawn, "--steps", "1"]) == 0
            export = ["export", str(out / "run"), *base, "--to"]
            assert run([*export, "diffusers", "--out", str(out / "diffusers")]) == 0
            if method not in {"dreambooth-lora"}:
                assert run([*export, "embedding", "--out", str(out / "embedding")]) == 0
            scored = ["evaluate", str(out / "run"), *base, "--device", "cpu"]
            assert run(scored) == 0
            assert run(["report", str(out / "run"), "--out", str(out / "report.html")]) == 0
            said = capsys.readouterr()
            assert TOKEN not in said.out + said.err
            for path, content in everything(out):
                searched += 1
                for what, secret in secrets.items():
                    assert secret not in content, (what, path.name)
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
