"""What the networks of published tables are fed, against the arithmetic of it by hand."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, ViTConfig, ViTModel

from rarebooth.metrics.encoders import lpips
from rarebooth.metrics.encoders.clip import VIT_B32
from rarebooth.metrics.encoders.dino import VIT_S16
from rarebooth.metrics.encoders.fetching import CLIP
from rarebooth.metrics.encoders.judges import open_judges
from rarebooth.pretrain.tokenizer import build_vocabulary

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

CLIP_ON_THE_HUB = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
    "resample": 3,
    "size": 224,
}
DINO_ON_THE_HUB = {
    "do_normalize": True,
    "do_resize": True,
    "image_mean": IMAGENET_MEAN,
    "image_std": IMAGENET_STD,
    "resample": 2,
    "size": 224,
}
SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 224,
    "patch_size": 56,
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The judges of a base that is not embedded, on tiny networks with the Hub's settings."""
    torch.manual_seed(0)
    clip, dino = tmp_path_factory.mktemp("clip"), tmp_path_factory.mktemp("dino")
    words = build_vocabulary(["dog"])
    words.save(clip)
    text = {"vocab_size": len(words.tokens), "eos_token_id": words.end, "hidden_size": 16}
    text |= {"num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16}
    model: Any = CLIPModel(CLIPConfig(text_config=text, vision_config=SMALL, projection_dim=8))
    model.save_pretrained(clip)
    (clip / "preprocessor_config.json").write_text(json.dumps(CLIP_ON_THE_HUB))
    other: Any = ViTModel(ViTConfig(**SMALL), add_pooling_layer=False)
    other.save_pretrained(dino)
    (dino / "preprocessor_config.json").write_text(json.dumps(DINO_ON_THE_HUB))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lpips, "installed", lambda device: None)
        judges = open_judges("sd15", get=lambda _, kind, __: clip if kind is CLIP else dino)
    return judges, model.eval(), other.eval()


def by_hand(picture, short, mean, std):
    """Pixels [1, 3, 224, 224]: PIL's bicubic on bytes, the middle, and the scaling of channels."""
    height, width = picture.shape[:2]
    scale = short / min(height, width)
    resized = Image.fromarray(picture).resize(
        (int(width * scale), int(height * scale)), Image.Resampling.BICUBIC
    )
    left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
    middle = resized.crop((left, top, left + 224, top + 224))
    pixels = (np.asarray(middle, dtype=np.float64) / 255 - mean) / std
    return torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None]


@pytest.fixture(params=[(301, 457), (457, 301), (512, 512), (64, 64)], ids=str)
def picture(request):
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (23, 31, 3), dtype=np.uint8))
    height, width = request.param
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


@torch.no_grad()
def test_clip_is_fed_the_middle_at_224_bicubic(opened, picture):
    judges, model, _ = opened
    pixels = by_hand(picture, 224, CLIP_MEAN, CLIP_STD)
    expected = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
    expected = expected / expected.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(judges.clip.images(picture[None]), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_dino_is_fed_the_middle_224_of_256_bicubic(opened, picture):
    judges, _, model = opened
    pixels = by_hand(picture, 256, IMAGENET_MEAN, IMAGENET_STD)
    expected = model(pixel_values=pixels).last_hidden_state[:, 0]
    expected = expected / expected.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(judges.dino.images(picture[None]), expected, atol=1e-5, rtol=0)


def test_tables_can_say_what_the_networks_are_fed(opened):
    judges = opened[0]
    assert judges.clip.fed == "shorter side 224 bicubic, centre crop 224, projected"
    assert judges.dino.fed == "shorter side 256 bicubic, centre crop 224, class token, last layer"
    assert judges.clip.name == VIT_B32
    assert judges.dino.name == VIT_S16
