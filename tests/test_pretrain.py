import json
import os
import signal
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
    StableDiffusionPipeline,
)
from safetensors import safe_open
from safetensors.torch import load_file

from rarebooth.errors import DivergedError, ResourceError, SettingsError
from rarebooth.pretrain.autoencoder import (
    FROZEN,
    SCALE,
    as_input,
    encode,
    encoder_digest,
    train_autoencoder,
)
from rarebooth.pretrain.denoiser import train_denoiser
from rarebooth.pretrain.latents import make_latents
from rarebooth.pretrain.packing import pack
from rarebooth.pretrain.rendering import draw_scenes, render_shards
from rarebooth.pretrain.shards import Stock, numbers_of, path_of, read_shard, write_shard
from rarebooth.pretrain.training import (
    FLAT,
    LAST,
    WARM_UP,
    Training,
    half_precision,
    memory,
    read_averages,
    read_curve,
    read_progress,
    schedule,
)
from rarebooth.world.render import Pictures
from tiny_parts import tiny_autoencoder, tiny_denoiser

SECONDS = 1 / 60


def fake_renderer(scenes, size, device):
    """Pictures that depend on their scene alone, at no cost."""
    seeds = torch.tensor([scene.shot % 251 for scene in scenes], dtype=torch.uint8)
    ramp = torch.arange(size, dtype=torch.uint8)
    images = seeds[:, None, None, None] + ramp[None, :, None, None] + ramp[None, None, :, None]
    masks = torch.zeros(len(scenes), size, size, dtype=torch.bool)
    masks[:, 4:12, 4:12] = True
    return Pictures(images.expand(-1, -1, -1, 3).contiguous(), masks)


def render(data, numbers, count=40, size=16):
    return render_shards(data, numbers, seed=1, size=size, renderer=fake_renderer, shard_size=count)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A data folder and the state of both stages, trained for two seconds each."""
    folder = tmp_path_factory.mktemp("pretrain")
    data, state = folder / "data", folder / "state"
    render(data, [0])
    train_autoencoder(data, state, minutes=SECONDS, batch=2, networks=tiny_autoencoder)
    make_latents(data, state, networks=tiny_autoencoder)
    train_denoiser(data, state, minutes=SECONDS, batch=2, networks=tiny_denoiser)
    return data, state


def linear_training(file, minutes=1.0, **settings) -> Any:
    torch.manual_seed(0)
    return Training(file, {"net": torch.nn.Linear(2, 1)}, minutes=minutes, peak=0.1, **settings)


def run(training, until):
    for step in training.steps(lambda: None):
        inputs = torch.full((4, 2), float(step % 3))
        training.learn((training.networks["net"](inputs) - 1).square().mean(), 4)
        if training.step == until:
            os.kill(os.getpid(), signal.SIGTERM)


def test_shards_are_the_same_however_they_were_made(tmp_path):
    assert render(tmp_path / "once", [0, 1, 2]) == 3
    assert render(tmp_path / "parts", [1]) == 1
    assert render(tmp_path / "parts", [0, 1, 2]) == 2
    for number in range(3):
        one, two = (
            read_shard(path_of(tmp_path / name, "pictures", number)) for name in ("once", "parts")
        )
        assert one.scenes == two.scenes == draw_scenes(1, number, 40)
        assert one.tensors["images"].equal(two.tensors["images"])
        assert one.facts == two.facts


def test_an_unfinished_shard_does_not_count(tmp_path):
    render(tmp_path, [0])
    (tmp_path / ".pictures-00001.safetensors.77.part").write_bytes(b"half")
    assert numbers_of(tmp_path, "pictures") == [0]


def test_a_stock_takes_in_what_appears_meanwhile(tmp_path):
    render(tmp_path, [0])
    stock = Stock(tmp_path, "pictures")
    render(tmp_path, [0, 3])
    stock.refresh()
    assert len(stock) == len(stock.tensors["images"]) == 80
    assert stock.scenes[40:] == draw_scenes(1, 3, 40)


def test_an_empty_data_folder_says_what_to_do(tmp_path):
    with pytest.raises(ResourceError, match="render --out"):
        Stock(tmp_path, "pictures")


def test_the_schedule_is_flat_then_falls_to_its_last_share():
    late = 10 * WARM_UP
    assert schedule(0, 0) == pytest.approx(1 / WARM_UP)
    assert schedule(FLAT, late) == 1
    assert schedule(0.75, late) == pytest.approx((1 + LAST) / 2)
    assert schedule(1, late) == pytest.approx(LAST)


def test_the_average_remembers_more_and_more():
    assert memory(0) == 0
    assert memory(90) == pytest.approx(0.9)
    assert memory(10**9) == 0.9995


@pytest.mark.parametrize(
    ("capability", "computed"),
    [("AVX512", torch.bfloat16), ("AVX2", torch.float32), ("DEFAULT", torch.float32)],
)
def test_a_cpu_computes_in_bfloat16_only_where_it_is_fast(monkeypatch, capability, computed):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    layer = torch.nn.Linear(2, 1)
    with half_precision("cpu"):
        answer = layer(torch.ones(1, 2))
    assert answer.dtype == computed
    answer.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_cuda_is_asked_for_bfloat16_whatever_the_cpu_and_other_devices_are_not(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    entered = half_precision("cuda:0")
    assert isinstance(entered, torch.autocast)
    assert (entered.device, entered.fast_dtype) == ("cuda", torch.bfloat16)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert isinstance(half_precision("mps"), nullcontext)


def test_a_stopped_training_goes_on_where_it_was(tmp_path):
    straight = linear_training(tmp_path / "straight.safetensors")
    run(straight, 40)
    first = linear_training(tmp_path / "parts.safetensors")
    run(first, 25)
    second = linear_training(tmp_path / "parts.safetensors")
    assert second.resume()
    assert (second.step, second.pictures) == (25, 100)
    assert second.seconds == first.seconds
    assert second.averages["net"].weight.equal(first.averages["net"].weight)
    run(second, 40)
    assert second.step == 40
    # Not to the bit: the learning rate follows the clock.
    for one, two in ((straight.networks, second.networks), (straight.averages, second.averages)):
        assert torch.allclose(one["net"].weight, two["net"].weight, atol=1e-6)


def test_steps_that_are_taken_again_leave_the_curve(tmp_path):
    file = tmp_path / "net.safetensors"
    run(linear_training(file), 5)
    with file.with_suffix(".jsonl").open("a") as curve:
        curve.write(json.dumps({"step": 9, "loss": 0.0}) + "\n")
    assert linear_training(file).resume()
    assert [line["step"] for line in read_curve(file)] == [5]


def test_time_ends_a_training_and_counts_across_stops(tmp_path):
    file = tmp_path / "net.safetensors"
    run(linear_training(file, minutes=0.2 / 60), until=-1)
    assert read_progress(file)["seconds"] >= 0.2
    again = linear_training(file, minutes=0.2 / 60)
    again.resume()
    before = again.step
    run(again, until=-1)
    assert again.step == before


def test_a_diverged_training_keeps_its_last_state(tmp_path):
    file = tmp_path / "net.safetensors"
    run(linear_training(file), 5)
    training = linear_training(file)
    training.resume()
    weight = training.networks["net"].weight
    training.learn((weight * torch.inf).sum(), 1)
    with pytest.raises(DivergedError, match="after step 6"):
        training.save()
    assert read_progress(file)["step"] == 5


def test_the_frozen_encoder_gives_latents_of_unit_spread(trained):
    data, state = trained
    vae = tiny_autoencoder()
    read_averages(state / "autoencoder.safetensors", vae, "vae")
    images = read_shard(path_of(data, "pictures", 0)).tensors["images"]
    mean, _ = encode(vae, images, "cpu")
    assert mean.std() == pytest.approx(1, abs=0.05)
    assert mean.mean((0, 2, 3)) == pytest.approx(0, abs=0.1)
    notes = read_progress(state / "autoencoder.safetensors")["notes"]
    assert notes[SCALE] == pytest.approx(1 / float(mean.std()), rel=0.02)


def test_freezing_the_encoder_changes_no_picture(tmp_path):
    from rarebooth.pretrain import autoencoder

    render(tmp_path, [0])
    stock = Stock(tmp_path, "pictures")
    torch.manual_seed(3)
    training: Any = Training(
        tmp_path / "s.safetensors", {"vae": tiny_autoencoder()}, minutes=1, peak=1e-3
    )
    vae = training.averages["vae"]
    pictures = as_input(stock.tensors["images"][:4])
    before = vae.decode(vae.encode(pictures).latent_dist.mean).sample
    autoencoder._freeze(training, stock, "cpu")
    after = vae.decode(vae.encode(pictures).latent_dist.mean).sample
    assert torch.allclose(before, after, atol=0.02)
    live = training.networks["vae"]
    assert encoder_digest(live) == encoder_digest(vae)
    assert not any(weight.requires_grad for weight in live.encoder.parameters())


def test_the_decoder_goes_on_under_a_frozen_encoder(trained, tmp_path):
    import shutil

    data, state = trained
    shutil.copytree(state, tmp_path / "state")
    before = tiny_autoencoder()
    read_averages(state / "autoencoder.safetensors", before, "vae")
    train_autoencoder(
        data, tmp_path / "state", minutes=2 * SECONDS, batch=2, networks=tiny_autoencoder
    )
    after = tiny_autoencoder()
    read_averages(tmp_path / "state" / "autoencoder.safetensors", after, "vae")
    assert encoder_digest(before) == encoder_digest(after)
    assert not before.decoder.conv_in.weight.equal(after.decoder.conv_in.weight)
    assert make_latents(data, tmp_path / "state", networks=tiny_autoencoder) == 0


def test_an_encoder_is_frozen_where_the_time_ends_within_a_step(trained, tmp_path):
    data, _ = trained
    train_autoencoder(data, tmp_path, minutes=1e-5, batch=2, networks=tiny_autoencoder)
    progress = read_progress(tmp_path / "autoencoder.safetensors")
    assert progress["notes"][FROZEN] == progress["step"] == 1


def test_latents_need_a_frozen_encoder(tmp_path):
    with pytest.raises(ResourceError, match="no frozen encoder"):
        make_latents(tmp_path, tmp_path)


def test_latents_of_another_encoder_are_refused(trained, tmp_path):
    data, state = trained
    shard = read_shard(path_of(data, "latents", 0))
    target = path_of(tmp_path / "data", "latents", 0)
    write_shard(target, shard._replace(facts={**shard.facts, "encoder": "another"}))
    with pytest.raises(SettingsError, match="another"):
        train_denoiser(tmp_path / "data", state, minutes=1, networks=tiny_denoiser)


def test_a_packed_base_draws_and_speaks_the_hubs_spelling(trained, tmp_path):
    base = tmp_path / "base"
    pack(
        trained[1],
        base,
        version="test-1",
        machine="a test",
        new_vae=tiny_autoencoder,
        new_pair=tiny_denoiser,
    )
    with safe_open(base / "text_encoder" / "model.safetensors", framework="pt") as file:
        assert all(name.startswith("text_model.") for name in file.keys())  # noqa: SIM118
    pipeline: Any = StableDiffusionPipeline.from_pretrained(base)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.safety_checker is None
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.tokenizer.model_max_length == 24
    for name in ("unet", "text_encoder"):
        expected = {
            key.removeprefix(f"averages.{name}."): weight.half()
            for key, weight in load_file(trained[1] / "denoiser.safetensors").items()
            if key.startswith(f"averages.{name}.")
        }
        loaded = getattr(pipeline, name).state_dict()
        assert all(loaded[key].half().equal(weight) for key, weight in expected.items())
    image = pipeline("a red (rare) dog", num_inference_steps=2, output_type="np").images[0]
    assert image.shape == (16, 16, 3)
    recipe = json.loads((base / "recipe.json").read_text())
    assert recipe["machine"] == "a test"
    assert recipe["pictures_rendered"] == 40
    assert recipe["denoiser"]["pictures"] == 2 * recipe["denoiser"]["steps"] > 0
    assert "psnr_toy" in recipe["autoencoder"]


def test_a_base_can_be_trained_further(trained, tmp_path):
    data, state = trained
    base, later = tmp_path / "base", tmp_path / "later"
    shapes: Any = {"new_vae": tiny_autoencoder, "new_pair": tiny_denoiser}
    pack(state, base, version="test-1", machine="a test", **shapes)
    train_autoencoder(
        data, later, minutes=SECONDS / 4, batch=2, base=base, networks=tiny_autoencoder
    )
    train_denoiser(data, later, minutes=SECONDS / 4, batch=2, base=base, networks=tiny_denoiser)
    assert read_progress(later / "autoencoder.safetensors")["notes"][FROZEN] == 0
    pack(later, tmp_path / "better", version="test-1", machine="a test", **shapes)
    first, second = (
        json.loads((folder / "recipe.json").read_text()) for folder in (base, tmp_path / "better")
    )
    for stage in ("autoencoder", "denoiser"):
        steps = second[stage]["steps"]
        assert second[stage]["pictures"] == first[stage]["pictures"] + 2 * steps


def test_a_thawed_encoder_learns_on_and_is_frozen_again(trained, tmp_path):
    data, state = trained
    base, later = tmp_path / "base", tmp_path / "later"
    shapes: Any = {"new_vae": tiny_autoencoder, "new_pair": tiny_denoiser}
    pack(state, base, version="test-1", machine="a test", **shapes)
    train_autoencoder(
        data,
        later,
        minutes=SECONDS,
        batch=2,
        base=base,
        thaw=True,
        encoder_time=0.5,
        networks=tiny_autoencoder,
    )
    before, after = tiny_autoencoder(), tiny_autoencoder()
    read_averages(state / "autoencoder.safetensors", before, "vae")
    read_averages(later / "autoencoder.safetensors", after, "vae")
    assert encoder_digest(before) != encoder_digest(after)
    notes = read_progress(later / "autoencoder.safetensors")["notes"]
    assert notes[FROZEN] > 0
    assert notes["earlier"]["pictures"] > 0


def test_what_does_not_belong_together_is_not_packed(trained, tmp_path):
    import shutil

    data, state = trained
    shutil.copytree(state, tmp_path / "state")
    (tmp_path / "state" / "autoencoder.safetensors").unlink()
    train_autoencoder(
        data, tmp_path / "state", minutes=SECONDS / 4, batch=2, seed=9, networks=tiny_autoencoder
    )
    with pytest.raises(ResourceError, match="learnt latents"):
        pack(
            tmp_path / "state",
            tmp_path / "base",
            version="test-1",
            machine="a test",
            new_vae=tiny_autoencoder,
            new_pair=tiny_denoiser,
        )
