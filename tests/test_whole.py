"""All stages of the training by one command: stopped, continued, and everything usable after."""

import os
import signal
from dataclasses import replace

import pytest
import torch

from rarebooth.errors import SettingsError
from rarebooth.metrics.encoders.clip import ClipEncoder
from rarebooth.metrics.encoders.dino import DinoEncoder
from rarebooth.metrics.encoders.examiner import Examiner
from rarebooth.pretrain.judges.exam import draw_caption_tests, draw_triplets
from rarebooth.pretrain.networks import new_autoencoder, parameters
from rarebooth.pretrain.recipe import read_recipe
from rarebooth.pretrain.training import read_progress
from rarebooth.pretrain.whole import BATCH, TIME, Parts, Whole
from rarebooth.world.render import Pictures
from tiny_parts import SIZE, tiny_autoencoder, tiny_clip, tiny_denoiser, tiny_dino


def painted(scenes, size=SIZE, device="cpu"):
    """Pictures that depend on their scene alone, at no cost."""
    shades = torch.tensor([scene.shot % 251 for scene in scenes], dtype=torch.uint8)
    images = shades[:, None, None, None].expand(-1, size, size, 3).contiguous()
    masks = torch.zeros(len(scenes), size, size, dtype=torch.bool)
    masks[:, 4:12, 4:12] = True
    return Pictures(images, masks)


PARTS = Parts(
    renderer=painted,
    shard_size=200,
    autoencoder=tiny_autoencoder,
    denoiser=tiny_denoiser,
    dino=tiny_dino,
    clip=tiny_clip,
    triplets=lambda: draw_triplets(4, renderer=painted),
    captions=lambda: draw_caption_tests(2, renderer=painted),
)
STAGES = ("autoencoder", "denoiser", "dino", "clip", "examiner")


def whole(out, minutes, parts=PARTS):
    return Whole(
        out=out,
        minutes=minutes,
        pictures=200,
        version="tiny-1",
        machine="a test",
        size=SIZE,
        judges_size=SIZE,
        parts=parts,
    )


def steps(out):
    return {
        stage: read_progress(out / "state" / f"{stage}.safetensors")["step"]
        for stage in STAGES
        if (out / "state" / f"{stage}.safetensors").exists()
    }


def test_one_command_trains_base_judges_and_examiner_and_trains_on(tmp_path):
    assert whole(tmp_path, 0.05).run()
    first = steps(tmp_path)
    assert set(first) == set(STAGES)
    assert whole(tmp_path, 0.05).run()
    assert steps(tmp_path) == first
    assert whole(tmp_path, 0.15).run()
    assert all(after > first[stage] for stage, after in steps(tmp_path).items())
    assert read_recipe(tmp_path / "base")["version"] == "tiny-1"
    pictures = torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)
    for encoder in (ClipEncoder, DinoEncoder):
        folder = tmp_path / "judges" / encoder.__name__.removesuffix("Encoder").lower()
        assert len(encoder.open(folder).images(pictures)) == 2
    assert len(Examiner.load(tmp_path / "examiner").read(pictures)["class"]) == 2


def test_asked_to_end_it_goes_no_further_and_continues_there(tmp_path):
    def ask_to_end(size):
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        return tiny_autoencoder(size)

    assert not whole(tmp_path, 1, replace(PARTS, autoencoder=ask_to_end)).run()
    assert set(steps(tmp_path)) == {"autoencoder"}
    first = steps(tmp_path)["autoencoder"]
    assert first > 0
    assert whole(tmp_path, 0.1).run()
    assert set(steps(tmp_path)) == set(STAGES)
    assert steps(tmp_path)["autoencoder"] >= first


def test_shares_of_the_time_are_all_of_it_and_every_stage_has_a_batch():
    assert sum(TIME.values()) == pytest.approx(1)
    assert all(batches.keys() == TIME.keys() for batches in BATCH.values())


@pytest.mark.parametrize("size", [64, 128])
def test_the_autoencoder_of_either_size_has_the_same_latents_and_fits(size):
    vae = new_autoencoder(size)
    assert vae.encode(torch.zeros(1, 3, size, size)).latent_dist.mean.shape == (1, 4, 16, 16)
    assert parameters(vae) < 2.7e6


def test_another_size_is_an_error_that_says_which_there_are():
    with pytest.raises(SettingsError, match="64 or 128"):
        new_autoencoder(96)
