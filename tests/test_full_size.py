"""The default method on a random model of Stable Diffusion 2.1-base's size.

Run by `make full-size`. What a trained model would learn is not shown here; that memory suffices,
that a run is continued from its state, and that the base is given back are.
"""

import gc
import os
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from rarebooth import api, artifact, hub, sample
from rarebooth.base import Session
from tiny import write_model

MOST_MEMORY = 19e9  # what a machine of 24 GB has left beside a desktop
PARAMETERS = {"unet": 865_910_724, "text_encoder": 340_387_840, "vae": 83_653_863}
SIZE = 256
SAMPLER_STEPS = 4

pytestmark = pytest.mark.full_size


def build_sd21(folder, *, channels=(320, 640, 1280, 1280), width=1024, layers=23):
    """Write the architecture of SD 2.1-base with random fp16 weights beside a tokenizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=64,
            block_out_channels=channels,
            attention_head_dim=tuple(count // 64 for count in channels),
            cross_attention_dim=width,
            use_linear_projection=True,
        )
        shape: dict[str, Any] = {
            "block_out_channels": (128, 256, 512, 512),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
        }
        vae = AutoencoderKL(**shape, layers_per_block=2, latent_channels=4)
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=49408,
                hidden_size=width,
                intermediate_size=4 * width,
                num_hidden_layers=layers,
                num_attention_heads=width // 64,
                max_position_embeddings=77,
                hidden_act="gelu",
                # The ids that SD 2.1's own config has: wrong for its tokenizer, and without effect.
                bos_token_id=0,
                eos_token_id=2,
                pad_token_id=1,
            )
        )
    counts = {
        "unet": unet.num_parameters(),
        "text_encoder": text_encoder.num_parameters(),
        "vae": vae.num_parameters(),
    }
    write_model(folder, unet, vae, text_encoder, "epsilon", torch.float16)
    return counts


def train(job, *, stop=False):
    """The steps taken, to the end or until a ``stop`` after the third."""
    taken = []
    with suppress(api.Interrupted):
        for step in api.train(job, stop=lambda: stop and len(taken) == 2):
            taken.append((step.stage, step.done))
    return taken


@pytest.fixture
def phases():
    """Seconds by phase, printed at the end together with the largest memory."""
    resource = pytest.importorskip("resource", reason="peak memory is not told on this system")
    seconds = {}

    @contextmanager
    def phase(name):
        start = time.perf_counter()
        yield
        seconds[name] = round(time.perf_counter() - start, 1)

    def peak():
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024

    return phase, peak, seconds


def test_sd21_is_personalised_within_19_gb(clip_tokenizer, tmp_path, monkeypatch, phases, capsys):
    photos = Path(os.environ.get("RAREBOOTH_DREAMBENCH", "")) / "dog6"
    if not photos.is_dir():
        pytest.skip("RAREBOOTH_DREAMBENCH does not name a folder with DreamBench's photos")
    monkeypatch.setattr(hub, "user_folder", lambda: tmp_path / "user")
    phase, peak, seconds = phases
    with phase("build"):
        folder = clip_tokenizer("!").parent
        assert build_sd21(folder) == PARAMETERS
        gc.collect()
    settings = {
        "noun": "dog",
        "base": str(folder),
        "resolution": SIZE,
        "token_steps": 2,
        "token_batch": 1,
        "steps": 2,
        "save_state_every": 1,
        "previews": "none",
    }
    run = tmp_path / "run"
    with phase("plan and load"):
        job = api.plan(photos, settings, out=run)
    base = job.base
    before = {
        name: parameter.detach().clone()
        for name, parameter in base.part("denoiser").named_parameters()
        if name.startswith(("conv_in", "mid_block.attentions"))
    }
    with phase("train to a state"):
        taken = train(job, stop=True)
        assert taken == [("token", 1), ("token", 2), ("denoiser", 1)]
        assert sum(file.stat().st_size for file in run.glob("state/*/*")) > 10e9
    with phase("continue to the end"):
        assert train(job) == [("denoiser", 2)]
    assert not (run / "state").exists()
    with phase("load the subject and draw"), Session(base) as session:
        found = artifact.load(run / "subject.safetensors")
        artifact.require_base(found, base.identity)
        assert len(found.delta.weights) == sum(1 for _ in base.part("denoiser").parameters())
        assert all(bool(change.expand().any()) for change in found.delta.weights.values())
        session.wear(found.delta)
        del found
        drawn = sample.draw(session, ["a photo of (rare) dog"], [0], steps=SAMPLER_STEPS)
    assert drawn.shape == (1, SIZE, SIZE, 3)
    for name, tensor in before.items():
        assert torch.equal(base.part("denoiser").get_parameter(name), tensor)
    subject = (run / "subject.safetensors").stat().st_size
    on_gpu = torch.cuda.max_memory_allocated() if base.device.type == "cuda" else 0
    with capsys.disabled():
        sys.stdout.write(
            f"\nSD 2.1-base's size on {base.device}, {SIZE} px: {peak() / 1e9:.1f} GB of memory, "
            f"{on_gpu / 1e9:.1f} GB on the GPU, file {subject / 1e9:.2f} GB; "
            f"seconds: {seconds}\n"
        )
    assert peak() <= MOST_MEMORY
    assert on_gpu <= MOST_MEMORY
