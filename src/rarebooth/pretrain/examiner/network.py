"""The examiner's network: a small residual one that looks at a picture in several places."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS: Final = (32, 64, 128)
"""Channels at a half, a quarter and an eighth of the picture's edge.

At a half there is the stem alone: blocks there cost as much time as all others together.
"""

GAZES: Final = 4
"""Places the network looks at before it answers; the toy is a tenth of a picture."""

FEATURES: Final = 128
"""Numbers that the answers are read from, and that Fréchet distances are measured in."""

_GROUP: Final = 8


class ExaminerNetwork(nn.Module):
    """Pictures [B, 3, S, S] in -1..1 to one tensor [B, answers] a question.

    ``answers``: how many answers each question has. Normalisation is by groups (Wu and He 2018), so
    that a picture's answers do not depend on its batch.
    """

    def __init__(
        self, answers: Sequence[int], widths: Sequence[int] = WIDTHS, depth: int = 2
    ) -> None:
        super().__init__()
        before = widths[0]
        self.stem = nn.Conv2d(3, before, 5, stride=2, padding=2)
        blocks: list[nn.Module] = []
        for width in widths[1:]:
            for index in range(depth):
                blocks.append(_Block(before, width, 1 if index else 2))
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.GroupNorm(before // _GROUP, before)
        self.gaze = nn.Conv2d(before, GAZES, 1)
        self.join = nn.Linear((GAZES + 1) * before, FEATURES)
        self.heads = nn.ModuleList(nn.Linear(FEATURES, count) for count in answers)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """The answers' logits, one tensor a question."""
        features = self.features(pictures)
        return [head(features) for head in self.heads]

    def features(self, pictures: Tensor) -> Tensor:
        """What the answers are read from, [B, 128]."""
        seen = functional.silu(self.norm(self.blocks(self.stem(pictures)))).flatten(2)
        share = self.gaze(seen.unflatten(2, (-1, 1))).flatten(2).float().softmax(-1)
        looked = seen @ share.to(seen.dtype).transpose(1, 2)
        places = torch.cat([looked, seen.mean(-1, keepdim=True)], dim=2)
        return functional.silu(self.join(places.flatten(1)))


class _Block(nn.Module):
    """Two convolutions beside a shortcut, normalised first (He et al. 2016, identity mappings)."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(before // _GROUP, before)
        self.conv1 = nn.Conv2d(before, width, 3, stride=stride, padding=1)
        self.norm2 = nn.GroupNorm(width // _GROUP, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = (
            nn.Identity()
            if before == width and stride == 1
            else nn.Conv2d(before, width, 1, stride=stride)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, before, h, w] to [B, width, h / stride, w / stride]."""
        inner = self.conv1(functional.silu(self.norm1(inputs)))
        inner = self.conv2(functional.silu(self.norm2(inner)))
        return self.shortcut(inputs) + inner
