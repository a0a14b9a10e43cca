"""Pickles that would run a command, in any disguise: refused, and the command never runs."""

import shutil

import huggingface_hub
import pytest

from rarebooth import artifact, hub
from rarebooth.bases import open_base
from rarebooth.checking import check
from rarebooth.errors import ArtifactError, BaseModelError, SettingsError
from rarebooth.metrics.encoders import fetching
from rarebooth.metrics.encoders.clip import VIT_B32
from rarebooth.metrics.encoders.dino import VIT_S16
from rarebooth.metrics.encoders.judges import open_judges
from test_checking import NAMES, WRAPPINGS, gadgets

COUNT = 99


@pytest.mark.trials(
    "R13", "pickles in disguise, checked and loaded as a subject", quick=18, full=99
)
def test_no_pickle_is_ever_run(trials, tmp_path):
    canary = tmp_path / "canary"
    made = [
        (wrap(content), kind, wrapping)
        for kind, content in gadgets(canary).items()
        for wrapping, wrap in WRAPPINGS.items()
    ]
    assert len(made) == COUNT
    for trial in trials:
        with trial as number:
            content, kind, wrapping = made[number * (COUNT // trials.count)]
            path = tmp_path / NAMES[number % len(NAMES)]
            path.write_bytes(content)
            report = check(path)
            assert (report.kind, report.safe) == ("pickle", False), (kind, wrapping)
            with pytest.raises(ArtifactError):
                artifact.load(path)
            assert not canary.exists()
    trials.figure("the command never ran")


@pytest.mark.trials("R13", "pickles in place of a base's weights", quick=3, full=10)
def test_a_base_of_pickles_is_refused(trials, tiny_folder, tmp_path):
    canary = tmp_path / "canary"
    contents = list(gadgets(canary).values())
    names = ("diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors")
    for trial in trials:
        with trial as number:
            folder = tmp_path / f"base-{number}"
            shutil.copytree(tiny_folder(), folder)
            for weights in (folder / "unet").glob("*.safetensors"):
                weights.unlink()
            (folder / "unet" / names[number % 2]).write_bytes(contents[number % len(contents)])
            with pytest.raises(BaseModelError, match=r"safetensors|damaged"):
                open_base(str(folder), device="cpu")
            assert not canary.exists()


@pytest.mark.trials("R13", "pickles in place of a judge's weights", quick=3, full=20)
def test_a_judge_of_pickles_is_refused(trials, tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    contents = list(gadgets(canary).values())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "user_folder", lambda: tmp_path / "rarebooth")
    names = ("pytorch_model.bin", fetching.WEIGHTS)
    for trial in trials:
        with trial as number:
            for name, kind in ((VIT_B32, fetching.CLIP), (VIT_S16, fetching.DINO)):
                folder = cached(tmp_path / "cache", name, kind)
                for each in names:
                    (folder / each).unlink(missing_ok=True)
                content = contents[number // 2 % len(contents)]
                (folder / names[number % 2]).write_bytes(content)
            with pytest.raises(
                SettingsError, match=r"safetensors (is missing|of the judge is dam)"
            ):
                open_judges("sd15")
            with pytest.raises(BaseModelError, match=fetching.WEIGHTS):
                fetching.fetched(VIT_S16, fetching.DINO, print)
            assert not canary.exists()


def cached(cache, name, kind):
    """The Hub's cache of a judge, whole but for its weights."""
    place = cache / f"models--{name.replace('/', '--')}"
    commit = kind.revisions.get(name, "c" * 40)
    folder = place / "snapshots" / commit
    folder.mkdir(parents=True, exist_ok=True)
    for each in (fetching.CONFIG, fetching.PIXELS, *fetching.VOCABULARY):
        (folder / each).write_text("{}", "utf-8")
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / "main").write_text(commit, "utf-8")
    return folder
