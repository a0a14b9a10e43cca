"""What was learnt, written in every form and read back: the same numbers."""

import json

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from rarebooth import artifact
from rarebooth.base import Session
from rarebooth.bases import open_base
from rarebooth.exporting import export
from rarebooth.exports.diffusers_folder import TABLE, pieces
from rarebooth.plan import plan
from training_jobs import finish
from trials import FULL

METHODS = {
    "two-stage": {"token_steps": 2, "steps": 2, "lr": 1e-3},
    "textual-inversion": {"steps": 3, "vectors": 2},
    "dreambooth-lora": {"steps": 3, "lr": 1e-3, "rank": 3, "alpha": 7},
    "custom-diffusion": {"steps": 3, "prior": "false", "initial_word": "sks"},
    "pivotal-lora": {"token_steps": 2, "steps": 2, "lr": 1e-3, "text_lr": 1e-3},
    "dreambooth": {"steps": 2, "lr": 1e-3, "prior": "false", "train_text": "true"},
}
LONGER = {"pivotal-lora", "dreambooth"}
"""Methods whose parts are those of others, tried in full only."""

NETWORKS = ("unet", "vae", "text_encoder")
PREDICTIONS = ("epsilon", "v_prediction")
TOLERANCE = 1e-5


def learn(method, photos, base, run):
    """A run of a few steps; its subject file and what it holds."""
    flags = {"noun": "dog", "base": str(base), "method": method, "device": "cpu"}
    flags |= {"checkpoint_every": 1, "previews": "none", "choose": "last"}
    finish(plan(photos, {**flags, **METHODS[method]}, out=run))
    return run / "subject.safetensors", artifact.load(run / "subject.safetensors")


def answer(session, prompt):
    """What the base draws noise as, when it is asked for a prompt."""
    base = session.base
    generator = torch.Generator().manual_seed(1)
    noisy = torch.randn((1, *base.latent_shape), generator=generator)
    with torch.no_grad():
        return base.denoise(noisy, torch.tensor([500]), session.condition([prompt]))


def apart(folder, base, delta):
    """How far a folder's answer, by its own words and networks, is from the subject's."""
    prompt = f"a photo of {delta.phrases[0]}"
    with Session(open_base(str(base), device="cpu")) as session:
        session.wear(delta)
        expected = answer(session, prompt)
    for word, vectors in delta.tokens.items():
        prompt = prompt.replace(word, " ".join(pieces(word, len(vectors))))
    with Session(open_base(str(folder), device="cpu")) as session:
        return (answer(session, prompt) - expected).abs().max().item()


def keys(folder):
    """The names of all tensors of a folder's networks."""
    found = {}
    for part in NETWORKS:
        (file,) = (folder / part).glob("*.safetensors")
        found[part] = {*load_file(file)}
    return found


def config(folder):
    """What a network of diffusers is made with."""
    content = json.loads((folder / "config.json").read_text("utf-8"))
    return {name: value for name, value in content.items() if not name.startswith("_")}


def golden(folder):
    """The names that diffusers' and transformers' own classes give them, by their configs."""
    with torch.device("meta"):
        made = {
            "unet": UNet2DConditionModel(**config(folder / "unet")),
            "vae": AutoencoderKL(**config(folder / "vae")),
            "text_encoder": CLIPTextModel(CLIPTextConfig.from_pretrained(folder / "text_encoder")),
        }
    named = {part: {*network.state_dict()} for part, network in made.items()}
    # Files keep the names of before transformers 5.6, which every other program reads.
    text = (name.removeprefix("text_model.") for name in named["text_encoder"])
    return {**named, "text_encoder": {f"text_model.{name}" for name in text}}


@pytest.mark.trials(
    "R23", "subject file, diffusers folder and embedding, written and read back", quick=1, full=2
)
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(
            name, marks=pytest.mark.skipif(name in LONGER and not FULL, reason="in full only")
        )
        for name in METHODS
    ],
)
def test_every_form_is_the_same_subject(method, trials, photos, tiny_folder, tmp_path):
    worst = 0.0
    for trial in trials:
        with trial as number:
            folder = tiny_folder(PREDICTIONS[number])
            run = tmp_path / f"run-{number}"
            subject, learnt = learn(method, photos, folder, run)
            again = tmp_path / f"again-{number}.safetensors"
            artifact.save(again, learnt.delta, learnt.header)
            assert again.read_bytes() == subject.read_bytes()

            made = export(run, "diffusers", tmp_path / f"folder-{number}", base=str(folder))
            assert keys(made.folder) == golden(made.folder)
            found = apart(made.folder, folder, learnt.delta)
            worst = max(worst, found)
            assert found <= TOLERANCE

            if learnt.delta.tokens:
                words = tmp_path / f"words-{number}"
                export(run, "embedding", words, base=str(folder))
                (file,) = words.glob("*.safetensors")
                (vectors,) = load_file(file).values()
                (token,) = learnt.delta.tokens
                assert torch.equal(vectors, learnt.delta.tokens[token])
    trials.figure(f"at most {worst:.0e} apart")


def test_an_export_that_lost_something_is_noticed(photos, tiny_folder, tmp_path):
    base = tiny_folder()
    _, learnt = learn("two-stage", photos, base, tmp_path / "run")
    folder = export(tmp_path / "run", "diffusers", tmp_path / "made", base=str(base)).folder
    assert apart(folder, base, learnt.delta) <= TOLERANCE
    unet = "unet/diffusion_pytorch_model.safetensors"
    whole = (folder / unet).read_bytes()
    (folder / unet).write_bytes((base / unet).read_bytes())
    assert apart(folder, base, learnt.delta) > TOLERANCE, "the U-Net's change must matter"
    (folder / unet).write_bytes(whole)
    text = "text_encoder/model.safetensors"
    tensors = load_file(folder / text)
    tensors[TABLE][len(load_file(base / text)[TABLE]) :] = 0
    save_file(tensors, folder / text, {"format": "pt"})
    assert apart(folder, base, learnt.delta) > TOLERANCE, "the new word must matter"
