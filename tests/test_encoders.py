"""Encoders give what transformers gives, for any folder in its format."""

import shutil
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, ViTConfig, ViTModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from rarebooth.errors import SettingsError
from rarebooth.metrics.encoders.clip import ClipEncoder
from rarebooth.metrics.encoders.dino import DinoEncoder
from rarebooth.metrics.encoders.pictures import BATCH
from rarebooth.pretrain.tokenizer import POSITIONS, build_vocabulary

WORDS = ["a", "photo", "of", "dog", "cat"]


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clip")
    words = build_vocabulary(WORDS)
    words.save(folder)
    small = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": 8,
    }
    text = {
        **small,
        "vocab_size": len(words.tokens),
        "bos_token_id": words.begin,
        "eos_token_id": words.end,
        "pad_token_id": words.end,
        "max_position_embeddings": POSITIONS,
    }
    model: Any = CLIPModel(
        CLIPConfig(
            text_config=text,
            vision_config={**small, "image_size": 32, "patch_size": 8},
            projection_dim=8,
        )
    )
    model.half().save_pretrained(folder)
    # As on the Hub: one number for the sizes, and the means and deviations of CLIP.
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dino")
    config = ViTConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    model: Any = ViTModel(config)  # with a pooling layer, as the original's file may have one
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def photos(count=3, height=40, width=56):
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for _ in range(count)
    ]


def unit(features):
    return features / features.norm(dim=-1, keepdim=True)


def test_clip_sees_and_reads_as_transformers_does(clip_folder):
    encoder = ClipEncoder.open(clip_folder)
    model: Any = CLIPModel.from_pretrained(clip_folder, dtype=torch.float32)
    pixels = CLIPImageProcessorPil.from_pretrained(clip_folder)(photos(), return_tensors="pt")
    texts = ["a photo of a dog", "cat"]
    tokens = CLIPTokenizer.from_pretrained(clip_folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        answer = model(**pixels, **tokens)
    torch.testing.assert_close(encoder.images(photos()), answer.image_embeds)
    torch.testing.assert_close(encoder.texts(texts), answer.text_embeds)
    assert encoder.images(photos()).dtype == torch.float32


def test_dino_is_the_class_token_after_the_last_norm(dino_folder):
    encoder = DinoEncoder.open(dino_folder)
    model: Any = ViTModel.from_pretrained(dino_folder)
    pixels = ViTImageProcessorPil.from_pretrained(dino_folder)(photos(), return_tensors="pt")
    with torch.no_grad():
        expected = unit(model(**pixels).last_hidden_state[:, 0])
    torch.testing.assert_close(encoder.images(photos()), expected)
    assert encoder.model.pooler is None


def test_a_cosine_worked_by_hand():
    """With weights that read one channel's mean each, features are mean colours, normalised."""

    class MeanColour:
        def __call__(self, images, return_tensors):
            arrays = [np.asarray(image, dtype=np.float32) / 255 for image in images]
            stacked = torch.tensor(np.stack(arrays)).permute(0, 3, 1, 2)
            return type("Batch", (), {"pixel_values": stacked})

    class Means:
        def get_image_features(self, pixel_values):
            return type("Answer", (), {"pooler_output": pixel_values.mean((2, 3))})

    encoder = ClipEncoder(Means(), MeanColour(), None, "cpu")
    pictures = np.zeros((2, 2, 2, 3), dtype=np.uint8)
    pictures[0, ..., 0] = 255  # red, (1, 0, 0)
    pictures[1, ..., 0] = 153  # (0.6, 0.8, 0)
    pictures[1, ..., 1] = 204
    features = encoder.images(pictures)
    torch.testing.assert_close(features @ features.T, torch.tensor([[1.0, 0.6], [0.6, 1.0]]))


@pytest.mark.parametrize("kind", ["arrays", "tensor", "gray and transparent"])
def test_pictures_come_in_many_kinds(dino_folder, kind):
    encoder = DinoEncoder.open(dino_folder)
    arrays = np.stack([np.asarray(picture) for picture in photos()])
    plain = encoder.images(photos())
    if kind == "arrays":
        assert encoder.images(arrays).equal(plain)
    elif kind == "tensor":
        assert encoder.images(torch.tensor(arrays)).equal(plain)
    else:
        gray, transparent = photos()[0].convert("L"), photos()[0].convert("RGBA")
        features = encoder.images([gray, transparent])
        assert features[1].equal(plain[0])
        assert features[0].isfinite().all()


def test_features_do_not_depend_on_what_a_picture_is_encoded_beside(dino_folder):
    encoder = DinoEncoder.open(dino_folder)
    many = photos(BATCH + 1, 32, 32)
    alone = encoder.images(many[-1:])
    torch.testing.assert_close(encoder.images(many)[-1:], alone)


def test_texts_that_are_too_long_are_cut_off(clip_folder):
    encoder = ClipEncoder.open(clip_folder)
    assert encoder.texts(["dog " * 100]).shape == (1, 8)


@pytest.mark.parametrize("kind", [ClipEncoder, DinoEncoder])
def test_what_cannot_be_opened_is_said(kind, tmp_path):
    with pytest.raises(SettingsError, match=r"cannot be opened.*Delete"):
        kind.open(tmp_path)


@pytest.fixture(params=["clip", "dino"])
def kept(request, tmp_path):
    """An encoder's class, and a folder of one that a test may alter."""
    folder = tmp_path / request.param
    shutil.copytree(request.getfixturevalue(f"{request.param}_folder"), folder)
    return {"clip": ClipEncoder, "dino": DinoEncoder}[request.param], folder


def alter(folder, change):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def test_weights_that_are_missing_are_not_made_up(kept):
    kind, folder = kept
    lost = next(name for name in sorted(load_file(folder / "model.safetensors")) if "norm" in name)
    alter(folder, lambda tensors: tensors.pop(lost))
    with pytest.raises(SettingsError, match=r"it lacks 1 tensors, the first .*norm.*Delete"):
        kind.open(folder)


def test_weights_that_are_of_no_use_do_no_harm(kept):
    """Files of the Hub hold heads, poolers and the numbers of positions as well."""
    kind, folder = kept
    before = kind.open(folder).images(photos())
    extra = {"classifier.weight": torch.ones(2, 16)}
    extra["text_model.embeddings.position_ids"] = torch.arange(4)[None]
    alter(folder, lambda tensors: tensors.update(extra))
    assert kind.open(folder).images(photos()).equal(before)


def test_a_pickle_is_not_read(kept):
    kind, folder = kept
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(SettingsError, match=r"model\.safetensors"):
        kind.open(folder)


def test_damaged_weights_are_said(kept):
    kind, folder = kept
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(SettingsError, match=r"cannot be opened.*Delete"):
        kind.open(folder)
