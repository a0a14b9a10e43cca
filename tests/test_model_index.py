"""What a model_index.json may name, and that those of the models people have may."""

import json

import pytest

from rarebooth import hub, model_index
from rarebooth.errors import BaseModelError

PARTS = {
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
CHECKER = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
NOTHING = [None, None]

# As published: the models that have an alias, and what later versions of diffusers write.
REAL = {
    "stable-diffusion-v1-4": {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.2.2",
        "feature_extractor": ["transformers", "CLIPFeatureExtractor"],
        **CHECKER,
        **PARTS,
    },
    "stable-diffusion-v1-5": {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.6.0",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        **CHECKER,
        **PARTS,
    },
    "stable-diffusion-2-1-base": {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.10.0.dev0",
        "feature_extractor": ["transformers", "CLIPFeatureExtractor"],
        "requires_safety_checker": False,
        "safety_checker": NOTHING,
        **PARTS,
    },
    "saved by diffusers 0.34": {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.34.0",
        "_name_or_path": "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "image_encoder": NOTHING,
        "requires_safety_checker": True,
        **CHECKER,
        **PARTS,
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
    },
    "without a checker, with an encoder of pictures": {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.27.0",
        "feature_extractor": NOTHING,
        "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "requires_safety_checker": None,
        "safety_checker": None,
        **PARTS,
        "scheduler": ["diffusers", "KDPM2AncestralDiscreteScheduler"],
        "tokenizer": ["transformers", "CLIPTokenizerFast"],
    },
}


@pytest.mark.parametrize("name", REAL)
def test_the_models_that_people_have_are_opened(tmp_path, name):
    (tmp_path / "model_index.json").write_text(json.dumps(REAL[name]), "utf-8")
    hub.require_known_parts(tmp_path)


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("unet", ["my_unet", "UNet"]),
        ("scheduler", ["os", "system"]),
        ("scheduler", ["diffusers", "os.Scheduler"]),
        ("vae", ["diffusers", "AutoencoderKL", "more"]),
        ("safety_checker", ["stable_diffusion", None]),
        ("anything", [["transformers"], "CLIPTextModel"]),
        ("_class_name", ["my_pipeline", "Pipeline"]),
    ],
)
def test_what_nobody_knows_is_refused_by_name(tmp_path, part, named):
    (tmp_path / "model_index.json").write_text(
        json.dumps({**REAL["stable-diffusion-v1-5"], part: named}), "utf-8"
    )
    with pytest.raises(BaseModelError, match=f"for '{part}', which is no class") as raised:
        hub.require_known_parts(tmp_path)
    assert repr(named)[:40] in str(raised.value)


def test_what_is_read_is_known():
    known = {part: list(named) for part, named in model_index.KNOWN.items()}
    assert not list(model_index.strangers(known))
    assert {*model_index.KNOWN} - {"tokenizer"} == {*hub.WEIGHTS}
