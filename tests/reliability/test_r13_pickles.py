"""Pickles that would run a command, in any disguise: refused, and the command never runs."""

import shutil

import pytest

from rarebooth import artifact
from rarebooth.bases import open_base
from rarebooth.checking import check
from rarebooth.errors import ArtifactError, BaseModelError
from test_checking import NAMES, WRAPPINGS, gadgets

COUNT = 90


@pytest.mark.trials(
    "R13", "pickles in disguise, checked and loaded as a subject", quick=18, full=90
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
