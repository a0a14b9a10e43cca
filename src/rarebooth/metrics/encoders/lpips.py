"""LPIPS: how different two pictures look (Zhang et al. 2018).

The package ``lpips`` is no dependency: it brings torchvision. Who has it gets its distances too.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from rarebooth.photos import Pixels

PAIRS: Final = 16
"""Pairs that the network sees at a time: of 512 pixels a side, they take about a gigabyte."""


@dataclass(frozen=True)
class Lpips:
    """The distance with AlexNet, as Qiu et al. 2023 measure diversity; Ruiz et al. name no net."""

    network: Any
    """An ``lpips.LPIPS``."""
    device: str
    name: str = "lpips alex"

    @torch.no_grad()
    def between(self, one: Pixels, other: Pixels) -> Tensor:
        """Distances, float32 [N], of pictures uint8 [N, S, S, 3], pair by pair."""
        parts = [
            self.network(
                self._scaled(one[first : first + PAIRS]), self._scaled(other[first : first + PAIRS])
            ).flatten()
            for first in range(0, len(one), PAIRS)
        ]
        return torch.cat(parts).float().cpu()

    def _scaled(self, pictures: np.ndarray) -> Tensor:
        """[B, 3, S, S] from -1 to 1, as the network was calibrated."""
        return torch.tensor(pictures).permute(0, 3, 1, 2).to(self.device).float() / 127.5 - 1


def installed(device: str = "cpu") -> Lpips | None:
    """The distance, or None where the package or AlexNet's weights cannot be had."""
    try:
        network = import_module("lpips").LPIPS(net="alex", verbose=False)
    # A torchvision of another build raises RuntimeError; weights that cannot be fetched, OSError.
    except (ImportError, RuntimeError, OSError):
        return None
    return Lpips(network.eval().to(device), device)
