"""CLIP: pictures and texts in one space (Radford et al. 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from rarebooth.metrics.encoders import weights
from rarebooth.metrics.encoders.pictures import BATCH, Pictures, Processor, features

VIT_B32: Final = "openai/clip-vit-base-patch32"
"""The network of CLIP-I and CLIP-T in published tables, as Textual Inversion's code has them."""


@dataclass(frozen=True)
class ClipEncoder:
    """A CLIP with its tokenizer and its picture processor."""

    model: Any
    """A ``CLIPModel``."""
    processor: Processor
    tokenizer: Any
    device: str

    @classmethod
    def open(cls, folder: Path, device: str = "cpu") -> Self:
        """Open a folder in float32.

        Raises:
            SettingsError: it holds no whole CLIP as safetensors.
        """
        with weights.opening(folder, "a CLIP"):
            return cls(
                model=weights.load(CLIPModel, folder).to(device),
                processor=CLIPImageProcessorPil.from_pretrained(folder),
                tokenizer=CLIPTokenizer.from_pretrained(folder),
                device=device,
            )

    @torch.no_grad()
    def images(self, pictures: Pictures) -> Tensor:
        """L2-normalised features of pictures, float32 [N, D]."""

        def network(pixels: Tensor) -> Tensor:
            return self.model.get_image_features(pixel_values=pixels).pooler_output

        return features(network, self.processor, pictures, self.device)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """L2-normalised features of texts, float32 [N, D]; what is too long is cut off."""
        parts: list[Tensor] = []
        for first in range(0, len(texts), BATCH):
            tokens = self.tokenizer(
                list(texts[first : first + BATCH]),
                padding="max_length",
                truncation=True,
                max_length=self.model.config.text_config.max_position_embeddings,
                return_tensors="pt",
            ).to(self.device)
            answer = self.model.get_text_features(
                input_ids=tokens.input_ids, attention_mask=tokens.attention_mask
            )
            parts.append(functional.normalize(answer.pooler_output, dim=-1))
        return torch.cat(parts).float().cpu()
