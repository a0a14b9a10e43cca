"""The subject file made smaller: full changes of matrices become products of low rank.

Kumari et al., "Multi-Concept Customization of Text-to-Image Diffusion" (CVPR 2023), compress what
Custom Diffusion learnt so: a singular value decomposition of each matrix's change from the base.
"""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from rarebooth import artifact
from rarebooth.delta import Change, LowRank
from rarebooth.errors import SettingsError
from rarebooth.exports import Source

KEEP = 0.6
"""Share of the sum of the singular values that is kept (src/compress.py of custom-diffusion)."""


@dataclass(frozen=True)
class LowRankSubject:
    """``subject.safetensors``, which ``rarebooth generate`` draws.

    ``keep``: share of the sum of each matrix's singular values; 1 keeps all.
    """

    keep: float = KEEP

    def write(self, source: Source, folder: Path) -> str:
        """Write the smaller file; SettingsError where no matrix's full change could be smaller."""
        if not 0 < self.keep <= 1:
            raise SettingsError(f"--keep is {self.keep}; it must be above 0 and at most 1.")
        delta = source.learnt.delta
        weights = {name: compress(change, self.keep) for name, change in delta.weights.items()}
        if all(weights[name] is change for name, change in delta.weights.items()):
            raise SettingsError(
                f"Nothing that {source.learnt.header.method} learnt here becomes smaller: words "
                "and low-rank changes are small as they are, and full changes that have no low "
                f"rank want a --keep below {self.keep:g}."
            )
        smaller = replace(delta, weights=weights)
        artifact.save(folder / "subject.safetensors", smaller, source.learnt.header)
        prompt = f"a photo of {' and '.join(delta.phrases)}"
        return shlex.join(["rarebooth", "generate", str(source.out), prompt])


def compress(change: Change | LowRank, keep: float) -> Change | LowRank:
    """The change of a matrix or convolution at low rank, or as it was where that is not smaller."""
    if isinstance(change, LowRank) or change.values.dim() < 2:
        return change
    small = truncated(change.expand().flatten(1), keep)
    numbers = small.up.numel() * small.up.itemsize + small.down.numel() * small.down.itemsize
    return small if numbers < change.values.numel() * change.values.itemsize else change


def truncated(matrix: Tensor, keep: float) -> LowRank:
    """The best product of the least rank whose singular values have ``keep`` of the sum of all."""
    rows, columns = matrix.shape
    if rows > columns:
        other = truncated(matrix.T, keep)
        return LowRank(other.down.T.contiguous(), other.up.T.contiguous())
    exact = matrix.double()
    # The SVD itself takes several times as long for the kernels of a U-Net.
    squares, left = torch.linalg.eigh(exact @ exact.T)
    sums = squares.flip(0).clamp(min=0).sqrt().cumsum(0)
    rank = int(torch.searchsorted(sums, keep * sums[-1])) + 1
    up = left.flip(1)[:, :rank]
    return LowRank(up.float().contiguous(), (up.T @ exact).float())
