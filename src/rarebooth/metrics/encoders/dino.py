"""DINO: pictures by what they show, learnt without words (Caron et al. 2021)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import torch
from torch import Tensor
from transformers import ViTModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from rarebooth.metrics.encoders import weights
from rarebooth.metrics.encoders.pictures import Pictures, Processor, features

VIT_S16: Final = "facebook/dino-vits16"
"""The network of DINO scores in published tables (Ruiz et al. 2023, sec. 4.1)."""


@dataclass(frozen=True)
class DinoEncoder:
    """A vision transformer, read at its class token, with its picture processor."""

    model: Any
    """A ``ViTModel`` without a pooling layer."""
    processor: Processor
    device: str

    @classmethod
    def open(cls, folder: Path, device: str = "cpu") -> Self:
        """Open a folder in float32.

        Raises:
            SettingsError: it holds no whole vision transformer as safetensors.
        """
        with weights.opening(folder, "a vision transformer"):
            return cls(
                model=weights.load(ViTModel, folder, add_pooling_layer=False).to(device),
                processor=ViTImageProcessorPil.from_pretrained(folder),
                device=device,
            )

    @torch.no_grad()
    def images(self, pictures: Pictures) -> Tensor:
        """L2-normalised features of pictures, float32 [N, D].

        The feature is the class token of the last hidden state, after the final layer norm.
        """

        def network(pixels: Tensor) -> Tensor:
            return self.model(pixel_values=pixels).last_hidden_state[:, 0]

        return features(network, self.processor, pictures, self.device)
