"""The Stable Diffusion family: diffusers' arithmetic, and clear words for bad folders."""

import gc
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from rarebooth.base import Batch, Session, denoising_loss
from rarebooth.bases import open_base
from rarebooth.bases.sd import StableDiffusion
from rarebooth.errors import BaseModelError, DivergedError, Interrupted, SettingsError
from tiny import build_folder

PREDICTIONS = ("epsilon", "v_prediction")


def random_photos(count=2, size=32):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def random_batch(base, photos, count):
    rng = torch.Generator().manual_seed(1)
    shape = (count, *base.latent_shape)
    return Batch(
        photo=torch.randint(photos, (count,), generator=rng),
        timestep=torch.randint(base.process.timesteps, (count,), generator=rng),
        noise=torch.randn(shape, generator=rng),
        encoding=torch.randn(shape, generator=rng),
        prompt=torch.zeros(count, dtype=torch.int64),
    )


def reference_encoding(folder, prompts):
    tokenizer: Any = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    encoder: Any = CLIPTextModel.from_pretrained(folder / "text_encoder")
    ids = tokenizer(
        prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        return encoder(ids)[0]


def change_json(path, **changes):
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def truncate(path, size=None):
    content = path.read_bytes()
    path.write_bytes(content[: size or len(content) // 2])


def drop(folder, file, tensor):
    path = folder / f"{file}.safetensors"
    tensors = load_file(path)
    del tensors[tensor]
    save_file(tensors, path, metadata={"format": "pt"})


def inpainting(folder):
    config = json.loads((folder / "unet/config.json").read_text()) | {"in_channels": 9}
    unet: Any = UNet2DConditionModel.from_config(config)
    unet.save_pretrained(folder / "unet")


def more_words(folder):
    path = folder / "tokenizer/vocab.json"
    vocabulary = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**vocabulary, "zzz</w>": len(vocabulary)}), encoding="utf-8")


def unet_says(**settings):
    return lambda folder: change_json(folder / "unet/config.json", **settings)


def text_says(**settings):
    return lambda folder: change_json(folder / "text_encoder/config.json", **settings)


def scheduler_says(**settings):
    return lambda folder: change_json(folder / "scheduler/scheduler_config.json", **settings)


def shard(folder):
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    path.unlink()
    names = sorted(tensors)
    places = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"diffusion_pytorch_model-{number:05}-of-00002.safetensors"
        save_file({n: tensors[n] for n in part}, path.with_name(file), metadata={"format": "pt"})
        places |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    path.with_name(f"{path.name}.index.json").write_text(json.dumps(index))
    return path


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_loss_and_gradient_are_those_of_diffusers_training_scripts(
    tiny_folder, tiny_base, prediction
):
    folder, base = tiny_folder(prediction), tiny_base(prediction)
    images, prompt = random_photos(), "a photo of rare dog"
    batch = random_batch(base, len(images), 3)

    vae: Any = AutoencoderKL.from_pretrained(folder / "vae")
    unet: Any = UNet2DConditionModel.from_pretrained(folder / "unet")
    scheduler: Any = DDPMScheduler.from_pretrained(folder / "scheduler")
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        moments = vae.encode(pixels).latent_dist
    clean = moments.mean[batch.photo] + moments.std[batch.photo] * batch.encoding
    clean = clean * vae.config.scaling_factor
    noisy = scheduler.add_noise(clean, batch.noise, batch.timestep)
    text = reference_encoding(folder, [prompt]).repeat(3, 1, 1)
    answer = unet(noisy, batch.timestep, text, return_dict=False)[0]
    goal = batch.noise
    if prediction == "v_prediction":
        goal = scheduler.get_velocity(clean, batch.noise, batch.timestep)
    expected = F.mse_loss(answer.float(), goal.float(), reduction="mean")
    expected.backward()

    with Session(base) as session:
        weights = session.tune("denoiser")
        loss = denoising_loss(
            base, base.posterior(images), batch, session.condition([prompt])
        ).mean()
        loss.backward()
        assert torch.allclose(loss, expected, atol=1e-6)
        for name, parameter in unet.named_parameters():
            ours: Any = weights[f"denoiser.{name}"].grad
            assert torch.allclose(ours, parameter.grad, rtol=1e-4, atol=1e-6), name


def test_posterior_is_the_scaled_distribution_of_each_photo_alone(tiny_folder, tiny_base):
    base, images = tiny_base(), random_photos(3)
    vae: Any = AutoencoderKL.from_pretrained(tiny_folder() / "vae")
    pixels = torch.from_numpy(images[1:2]).permute(0, 3, 1, 2).contiguous().float() / 255 * 2 - 1
    with torch.no_grad():
        latent = vae.encode(pixels).latent_dist
    photos = base.posterior(images)
    assert photos.mean.shape == photos.deviation.shape == (3, 4, 8, 8)
    assert torch.equal(photos.mean[1:2], latent.mean * 0.18215)
    assert torch.equal(photos.deviation[1:2], latent.std * 0.18215)


@pytest.mark.parametrize(
    "images",
    [random_photos(1, 64), random_photos().astype(np.float32), random_photos(1)[:0]],
    ids=["size", "type", "none"],
)
def test_photos_of_another_size_or_type_are_refused(tiny_base, images):
    with pytest.raises(SettingsError, match="uint8"):
        tiny_base().posterior(images)


def test_decoded_pictures_are_those_of_diffusers_and_independent_of_the_batch(
    tiny_folder, tiny_base
):
    base = tiny_base()
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 3
    vae: Any = AutoencoderKL.from_pretrained(tiny_folder() / "vae")
    with torch.no_grad():
        decoded = vae.decode(latents[1:2] / 0.18215).sample
    expected: Any = VaeImageProcessor().postprocess(decoded, output_type="pil")
    pictures = base.decode(latents)
    assert pictures.dtype == np.uint8
    assert pictures.shape == (3, 32, 32, 3)
    assert np.array_equal(pictures[1], np.asarray(expected[0]))
    assert np.array_equal(base.decode(latents[1:])[0], pictures[1])


def test_pixels_that_are_no_numbers_become_no_picture(tiny_base):
    base = tiny_base()
    latents = torch.zeros(2, *base.latent_shape)
    latents[1, 0, 0, 0] = float("nan")
    base.decode(latents[:1])
    with pytest.raises(DivergedError, match="not finite"):
        base.decode(latents)


def test_condition_without_new_words_is_the_plain_text_encoder(tiny_folder, tiny_base):
    prompts = ["a photo of rare dog", "", "a photo of rare dog", "the toy " * 80]
    ours = tiny_base().condition(prompts, {})
    assert torch.allclose(ours, reference_encoding(tiny_folder(), prompts), atol=1e-6)
    assert torch.equal(ours[0], ours[2])


def test_a_new_word_reads_like_a_row_of_a_resized_table(tiny_folder, tiny_base):
    prompts = ["a photo of (rare) dog on the beach", "a (rare)(rare) cat", "a dog"]
    vector = torch.randn(1, 32, generator=torch.Generator().manual_seed(3))
    tokenizer: Any = CLIPTokenizer.from_pretrained(tiny_folder() / "tokenizer")
    encoder: Any = CLIPTextModel.from_pretrained(tiny_folder() / "text_encoder")
    tokenizer.add_tokens(["(rare)"])
    encoder.resize_token_embeddings(len(tokenizer))
    with torch.no_grad():
        encoder.get_input_embeddings().weight[-1] = vector[0]
        ids = tokenizer(prompts, padding="max_length", max_length=77, return_tensors="pt").input_ids
        expected = encoder(ids)[0]
    assert (ids == len(tokenizer) - 1).sum() == 3
    ours = tiny_base().condition(prompts, {"(rare)": vector})
    assert torch.allclose(ours, expected, atol=1e-6)


def test_two_new_words_do_not_take_each_others_places(tiny_base):
    base = tiny_base()
    one, two = torch.randn(2, 1, 32, generator=torch.Generator().manual_seed(3))
    both = base.condition(["a (one) (two)"], {"(one)": one, "(two)": two})
    swapped = base.condition(["a (two) (one)"], {"(one)": two, "(two)": one})
    assert torch.equal(both, swapped)
    assert not torch.allclose(both, base.condition(["a (two) (one)"], {"(one)": one, "(two)": two}))


def test_training_a_word_leaves_the_table_bit_identical(tiny_folder, tiny_base):
    base = tiny_base()
    with Session(base) as session:
        vector = session.token("(rare)", "rare")
        before = vector.detach().clone()
        optimiser = torch.optim.AdamW([vector], lr=5e-4, weight_decay=1e-2)
        for _ in range(100):
            session.condition(["a photo of (rare) dog"]).square().mean().backward()
            optimiser.step()
            optimiser.zero_grad()
        assert (vector - before).abs().max() > 1e-3
    file = load_file(tiny_folder() / "text_encoder/model.safetensors")
    for name, parameter in base.part("text").named_parameters():
        assert torch.equal(parameter, file[f"text_model.{name}"]), name
        assert parameter.grad is None
    assert "(rare)" not in base._parts.tokenizer.get_vocab()
    assert not base._table._forward_hooks
    assert not base._table._forward_pre_hooks


def test_word_is_a_copy_of_the_words_row_and_not_of_the_sub_words(tiny_folder, tiny_base):
    base = tiny_base()
    vocabulary = json.loads((tiny_folder() / "tokenizer/vocab.json").read_text())
    table = load_file(tiny_folder() / "text_encoder/model.safetensors")[
        "text_model.embeddings.token_embedding.weight"
    ]
    row = base.word("rare")
    assert torch.equal(row[0], table[vocabulary["rare</w>"]])
    assert not torch.equal(row[0], table[vocabulary["rare"]])
    row.zero_()
    assert base.word("rare").abs().sum() > 0


def test_a_prompt_that_would_lose_the_new_word_is_refused(tiny_base):
    vector = torch.zeros(1, 32)
    fits = "a " * 74 + "(rare)"
    tiny_base().condition([fits], {"(rare)": vector})
    with pytest.raises(SettingsError, match=r"reads 75 tokens.*Shorten"):
        tiny_base().condition(["a dog", "a " * 75 + "(rare)"], {"(rare)": vector})
    tiny_base().condition(["a " * 200], {"(rare)": vector})


@pytest.mark.parametrize(("pad", "other_pad"), [("<|endoftext|>", "!"), ("!", "<|endoftext|>")])
def test_padding_is_the_tokenizers_and_is_attended_to(tmp_path, pad, other_pad):
    folder = build_folder(tmp_path / "model", pad=pad)
    base = StableDiffusion.load(folder, "tiny", "cpu")
    seen = []
    handle = base._table.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    encoding = base.condition(["a dog"], {})
    handle.remove()
    vocabulary = json.loads((folder / "tokenizer/vocab.json").read_text())
    words = [vocabulary[word] for word in ("<|startoftext|>", "a</w>", "dog</w>", "<|endoftext|>")]
    assert seen[0][0].tolist() == words + [vocabulary[pad]] * 73
    assert encoding.shape == (1, 77, 32)
    other = build_folder(tmp_path / "other", pad=other_pad)
    unlike = StableDiffusion.load(other, "tiny", "cpu").condition(["a dog"], {})
    assert torch.allclose(encoding[:, :4], unlike[:, :4])
    assert not torch.allclose(encoding[:, 4:], unlike[:, 4:])


@pytest.mark.parametrize("hub_spelling", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_are_fp32_and_the_originals_can_be_read_again(tmp_path, hub_spelling, dtype):
    folder = build_folder(tmp_path / "model", hub_spelling=hub_spelling, dtype=dtype)
    base = StableDiffusion.load(folder, "tiny", "cpu")
    for part in ("denoiser", "text"):
        original = base.original(part)
        for name, parameter in base.part(part).named_parameters():
            assert parameter.dtype == torch.float32
            assert not parameter.requires_grad
            assert torch.equal(original(name), parameter), name
        assert not base.part(part).training


def test_files_are_held_no_longer_than_their_reader(tmp_path):
    if not Path("/proc/self/maps").exists():
        pytest.skip("the system does not say what is mapped")
    # In fp16, of which the network is a copy.
    folder = build_folder(tmp_path / "model", dtype=torch.float16)
    base = StableDiffusion.load(folder, "tiny", "cpu")

    def mapped():
        return f"{folder}/unet" in Path("/proc/self/maps").read_text()

    with Session(base) as session:
        session.tune("denoiser")
    gc.collect()
    assert not mapped()
    original = base.original("denoiser")
    kept = original("conv_in.weight")
    assert mapped()
    del original, kept
    gc.collect()
    assert not mapped()


def replaced(file):
    """Other weights of the same size, as a new download puts them in a file's place."""
    other = file.with_name("other")
    other.write_bytes(file.read_bytes())
    other.replace(file)


@pytest.mark.parametrize("change", [replaced, Path.unlink])
def test_files_that_changed_since_they_were_loaded_are_refused_by_name(tmp_path, change):
    base = StableDiffusion.load(build_folder(tmp_path), "tiny", device="cpu", precision="fp32")
    session = Session(base)
    session.tune("denoiser")
    change(tmp_path / "unet/diffusion_pytorch_model.safetensors")
    with pytest.raises(BaseModelError, match=r"unet/diffusion.*replaced or removed since"):
        session.__exit__(None, None, None)
    with pytest.raises(Interrupted, match="stopped") as told, session:
        raise Interrupted("stopped")
    (note,) = told.value.__notes__
    assert "unet/diffusion_pytorch_model.safetensors" in note


def test_a_session_gives_both_parts_back_bit_for_bit(tiny_base):
    base = tiny_base()
    before = {
        part: {n: p.clone() for n, p in base.part(part).named_parameters()}
        for part in ("denoiser", "text")
    }
    with Session(base) as session:
        for part in before:
            for parameter in session.tune(part).values():
                parameter.data.add_(1)
        name = next(iter(before["text"]))
        assert torch.equal(base.original("text")(name), before["text"][name])
    for part, tensors in before.items():
        for name, parameter in base.part(part).named_parameters():
            assert torch.equal(parameter, tensors[name])


def test_only_the_denoiser_and_the_text_encoder_can_be_trained(tiny_base):
    with pytest.raises(SettingsError, match=r"'vae'.*denoiser, text"):
        tiny_base().part("vae")
    with pytest.raises(SettingsError, match="'vae'"):
        tiny_base().original("vae")


def test_bf16_computes_close_to_fp32_and_answers_in_fp32(tiny_folder, tiny_base):
    exact = tiny_base()
    fast = StableDiffusion.load(tiny_folder(), "tiny", "cpu", "bf16")
    noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    timestep = torch.tensor([10, 900])
    condition = exact.condition(["a dog"], {}).expand(2, -1, -1)
    with torch.no_grad():
        answer = fast.denoise(noisy, timestep, condition)
        expected = exact.denoise(noisy, timestep, condition)
    assert answer.dtype == torch.float32
    assert not torch.equal(answer, expected)
    assert torch.allclose(answer, expected, atol=0.05)
    assert torch.equal(fast.condition(["a dog"], {}), exact.condition(["a dog"], {}))


def test_identity_follows_content_and_not_names(tiny_folder, tmp_path):
    digest = StableDiffusion.load(tiny_folder(), "tiny", "cpu").identity.digest
    copied = Path(shutil.copytree(tiny_folder(), tmp_path / "copy"))
    merges = copied / "tokenizer/merges.txt"
    merges.write_bytes(merges.read_bytes().replace(b"\n", b"\r\n"))
    for part, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        weights = copied / part / f"{stem}.safetensors"
        weights.rename(weights.with_name(f"{stem}.fp16.safetensors"))
    identity = StableDiffusion.load(copied, "other", "cpu").identity
    assert (identity.name, identity.family, identity.digest) == (
        "other",
        "stable-diffusion",
        digest,
    )
    # Sampling settings do not make another model; what was trained does.
    change_json(copied / "scheduler/scheduler_config.json", steps_offset=0)
    assert StableDiffusion.load(copied, "other", "cpu").identity.digest == digest
    change_json(copied / "scheduler/scheduler_config.json", prediction_type="v_prediction")
    assert StableDiffusion.load(copied, "other", "cpu").identity.digest != digest


def test_another_weight_is_another_identity(copied_folder):
    digest = StableDiffusion.load(copied_folder, "tiny", "cpu").identity.digest
    path = copied_folder / "vae/diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["encoder.conv_in.bias"] = tensors["encoder.conv_in.bias"] + 1
    save_file(tensors, path, metadata={"format": "pt"})
    assert StableDiffusion.load(copied_folder, "tiny", "cpu").identity.digest != digest


@pytest.mark.parametrize(("prediction", "size", "factor"), [("v_prediction", 64, 8)])
def test_process_and_sizes_come_from_the_configs(tmp_path, prediction, size, factor):
    folder = build_folder(tmp_path / "model", prediction=prediction, size=size, factor=factor)
    base = StableDiffusion.load(folder, "tiny", "cpu")
    scheduler: Any = DDPMScheduler.from_pretrained(folder / "scheduler")
    assert base.process.prediction == "v_prediction"
    assert torch.equal(base.process.alphas_cumprod, scheduler.alphas_cumprod)
    assert abs(float(base.process.alphas_cumprod[999]) - 0.00466) < 1e-5
    assert base.scheduler_config["steps_offset"] == 1
    assert (base.size, base.latent_shape) == (64, (4, 8, 8))
    larger = StableDiffusion.load(folder, "tiny", "cpu", resolution=96)
    assert (larger.size, larger.latent_shape) == (96, (4, 12, 12))
    assert larger.posterior(random_photos(1, 96)).mean.shape == (1, 4, 12, 12)
    for wrong in (0, 8, 72, -16):
        with pytest.raises(SettingsError, match="multiple of 16"):
            StableDiffusion.load(folder, "tiny", "cpu", resolution=wrong)


def test_prediction_type_is_epsilon_where_the_config_says_nothing(copied_folder):
    change_json(copied_folder / "scheduler/scheduler_config.json", prediction_type=None)
    assert StableDiffusion.load(copied_folder, "tiny", "cpu").process.prediction == "epsilon"


def test_sharded_weights_are_the_same_model(tiny_folder, tiny_base, copied_folder):
    path = shard(copied_folder)
    base = StableDiffusion.load(copied_folder, "tiny", "cpu")
    for name, parameter in tiny_base().part("denoiser").named_parameters():
        assert torch.equal(base.part("denoiser").get_parameter(name), parameter)
        assert torch.equal(base.original("denoiser")(name), parameter)
    (path.with_name("diffusion_pytorch_model-00002-of-00002.safetensors")).unlink()
    with pytest.raises(BaseModelError, match="unet/diffusion_pytorch_model-00002-of-00002"):
        StableDiffusion.load(copied_folder, "tiny", "cpu")


def test_autoencoders_in_the_old_spelling_of_attention_are_read(tiny_folder, copied_folder):
    path = copied_folder / "vae/diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(path)
    for new, former in old.items():
        tensors = {key.replace(f".{new}.", f".{former}."): t for key, t in tensors.items()}
    assert "encoder.mid_block.attentions.0.proj_attn.weight" in tensors
    save_file(tensors, path, metadata={"format": "pt"})
    base = StableDiffusion.load(copied_folder, "tiny", "cpu")
    plain = StableDiffusion.load(tiny_folder(), "tiny", "cpu")
    photos = random_photos(1)
    assert torch.equal(base.posterior(photos).mean, plain.posterior(photos).mean)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda f: (f / "model_index.json").unlink(), "model_index.json is missing"),
        (lambda f: (f / "model_index.json").write_text("{"), "model_index.json.*cannot be read"),
        (lambda f: (f / "model_index.json").write_text("[]"), "no JSON object"),
        (lambda f: (f / "model_index.json").write_bytes(b" " * 2**21), "larger than the 1 MiB"),
        (lambda f: (f / "model_index.json").write_text("[" * 9999), "more than 64 lists"),
        (
            lambda f: change_json(f / "model_index.json", scheduler=["os", "system"]),
            r"names \['os', 'system'\] for 'scheduler'.*pick another with --base",
        ),
        (
            lambda f: (f / "tokenizer/vocab.json").write_bytes(b" " * (2**24 + 1)),
            "tokenizer/vocab.json of the base model is larger than 16 MiB",
        ),
        (
            lambda f: change_json(f / "model_index.json", _class_name="StableDiffusionXLPipeline"),
            "holds a StableDiffusionXLPipeline; rarebooth can train StableDiffusionPipeline",
        ),
        (lambda f: (f / "unet/config.json").unlink(), "unet/config.json is missing"),
        (lambda f: shutil.rmtree(f / "vae"), "vae/config.json is missing"),
        (
            lambda f: (f / "scheduler/scheduler_config.json").unlink(),
            "scheduler/scheduler_config.json is missing",
        ),
        (lambda f: (f / "tokenizer/merges.txt").unlink(), "tokenizer/vocab.json is missing"),
        (
            lambda f: (f / "text_encoder/model.safetensors").unlink(),
            "text_encoder/model.safetensors is missing",
        ),
        (
            lambda f: (f / "text_encoder/model.safetensors").rename(
                f / "text_encoder/pytorch_model.bin"
            ),
            "model.safetensors is missing.*reads safetensors only",
        ),
        (
            lambda f: (f / "unet/diffusion_pytorch_model.safetensors").rename(
                f / "unet/1234.incomplete"
            ),
            "diffusion_pytorch_model.safetensors is missing. A download was not finished",
        ),
        (
            lambda f: truncate(f / "unet/diffusion_pytorch_model.safetensors"),
            "unet/diffusion_pytorch_model.safetensors.*not fetched whole",
        ),
        (
            lambda f: truncate(f / "vae/diffusion_pytorch_model.safetensors", 5),
            "vae/diffusion_pytorch_model.safetensors.*not fetched whole",
        ),
        (lambda f: drop(f, "unet/diffusion_pytorch_model", "conv_in.bias"), "unet lacks.*conv_in"),
        (
            lambda f: drop(f, "vae/diffusion_pytorch_model", "quant_conv.bias"),
            "vae lacks 1 tensors, the first quant_conv.bias",
        ),
        (
            lambda f: drop(f, "text_encoder/model", "text_model.final_layer_norm.weight"),
            "text_encoder lacks.*final_layer_norm",
        ),
        (lambda f: change_json(f / "unet/config.json", in_channels=9), "cannot be loaded|inpaint"),
        (inpainting, "reads 9 channels.*inpainting"),
        (
            lambda f: change_json(f / "scheduler/scheduler_config.json", prediction_type="sample"),
            "predicts 'sample'",
        ),
        (
            lambda f: change_json(f / "scheduler/scheduler_config.json", beta_schedule="x"),
            "scheduler_config.json.*cannot be used",
        ),
        (lambda f: (f / "tokenizer/vocab.json").write_text("{"), "tokenizer.*cannot be loaded"),
        (more_words, "tokenizer knows .* tokens"),
        (text_says(num_hidden_layers=1_000_000), "num_hidden_layers.*its weights allow for 0 to"),
        (text_says(num_hidden_layers=900), "asks for 900 layers or more, and its files hold 36 t"),
        (unet_says(layers_per_block=9, transformer_layers_per_block=9), "asks for 162 layers"),
        (text_says(max_position_embeddings=10**9), "1000000000 for 'max_position_embeddings'"),
        (unet_says(downsample_padding=-1), "says -1 for 'downsample_padding'"),
        (unet_says(norm_num_groups=0), "The unet of the base model cannot be loaded"),
        (unet_says(transformer_layers_per_block=[]), "The unet of the base model cannot be loade"),
        (unet_says(sample_size=[[1]]), r"sample_size in unet/config.json .* is \[\[1\]\]; it must"),
        (text_says(vocab_size="x"), "text_encoder of the base model cannot be loaded.*vocab_size"),
        (
            lambda f: change_json(f / "vae/config.json", scaling_factor="x"),
            "scaling_factor 'x'; it must be a number above 0",
        ),
        (
            lambda f: change_json(f / "tokenizer/tokenizer_config.json", model_max_length=0),
            "model_max_length .* is 0; it must be a whole number from 3 to 77",
        ),
        (scheduler_says(num_train_timesteps=10**9), "num_train_timesteps .* from 1 to 100000"),
        (scheduler_says(steps_offset=1.5), "steps_offset .* is 1.5"),
        (scheduler_says(beta_start=-1), "scheduler_config.json .* cannot be used"),
        (scheduler_says(trained_betas=[0.1]), "no noise schedule of 1000 timesteps"),
        (scheduler_says(trained_betas=[2.0] * 1000), "betas must be numbers from 0 to 1"),
        (
            lambda f: change_json(f / "model_index.json", _class_name={}),
            "holds a {}; rarebooth can train",
        ),
        (lambda f: (f / "unet/config.json").write_text("[" * 99999), "cannot be read"),
    ],
)
def test_a_bad_folder_is_refused_in_one_clear_sentence(copied_folder, broken, message):
    broken(copied_folder)
    with pytest.raises(BaseModelError, match=message) as caught:
        open_base(str(copied_folder), device="cpu")
    assert str(copied_folder.parent) not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_open_base_names_a_folder_without_its_path(tiny_folder):
    base = open_base(str(tiny_folder()), device="cpu", precision="fp32", resolution=64)
    assert base.identity.name == "tiny-epsilon"
    assert base.size == 64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "tpu"}, "auto, cpu, cuda, cuda:N or mps"),
        ({"precision": "fp16"}, "auto, fp32 or bf16"),
        ({"device": "cpu:1"}, "no device 'cpu:1'"),
        ({"device": "cpu:"}, "no device 'cpu:'"),
    ],
)
def test_unknown_devices_and_precisions_are_settings_errors(tiny_folder, settings, message):
    wanted: dict[str, Any] = {"device": "cpu", **settings}
    with pytest.raises(SettingsError, match=message):
        open_base(str(tiny_folder()), **wanted)


def test_a_device_that_is_not_there_is_a_settings_error(tiny_folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="'cuda' cannot be used here"):
        open_base(str(tiny_folder()), device="cuda")


def test_loading_prints_nothing(tiny_folder, capfd):
    StableDiffusion.load(tiny_folder(), "tiny", "cpu")
    assert capfd.readouterr() == ("", "")
