"""The stage ``clip``: pictures and sentences into one space (Radford et al. 2021).

A batch is contrastive in two ways. Half of its pictures come in groups that share all but one or
two word groups; and beside its own sentence, each picture brings ``WRONG`` that differ from it in
one word group, which cost little, because only the text tower reads them. A sentence that is true
of another picture of the batch is no negative there.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTokenizer

from rarebooth.pretrain.autoencoder import as_input
from rarebooth.pretrain.judges.data import GROUP
from rarebooth.pretrain.judges.exam import CaptionTests, caption_accuracy, draw_caption_tests
from rarebooth.pretrain.judges.networks import Clip, clip_sees, keep_patches, new_clip
from rarebooth.pretrain.judges.words import GROUPS, Words, options
from rarebooth.pretrain.shards import Stock
from rarebooth.pretrain.tokenizer import POSITIONS, Vocabulary, read_vocabulary
from rarebooth.pretrain.training import Training, half_precision

FILE: Final = "clip.safetensors"

WRONG: Final = 4
"""Sentences that are wrong in one word group, for each picture."""

SAID: Final = 0.85
"""How often a word group other than the class is said, where there is something to say."""

LARGEST_SCALE: Final = 100.0
"""Radford et al. 2021, sec. 2.5."""

PART: Final = 0.5
"""Share of the patches that are seen, toys first, in the first ``PART_TIME`` of the time."""

PART_TIME: Final = 0.8

_TESTS: Final = 256


class Reader:
    """A CLIP in training, as an encoder that can be examined."""

    def __init__(self, clip: Clip, tokenizer: CLIPTokenizer, device: str) -> None:
        self._clip, self._tokenizer, self._device = clip, tokenizer, device

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Token ids int64 [B, n], n at most 24; ends pad them, which no earlier token looks at."""
        return self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=POSITIONS,
            return_tensors="pt",
        ).input_ids.to(self._device)

    def see(self, pixels: Tensor, kept: Tensor | None = None) -> Tensor:
        """L2-normalised features [B, D] of pixels [B, 3, S, S] in -1..1, or of some patches."""
        with half_precision(self._device):
            answer = clip_sees(self._clip, pixels, kept)
        return functional.normalize(answer.float(), dim=-1)

    def read(self, texts: Sequence[str]) -> Tensor:
        """L2-normalised features [B, D] of texts."""
        with half_precision(self._device):
            answer = self._clip.get_text_features(input_ids=self.tokens(texts)).pooler_output
        return functional.normalize(answer.float(), dim=-1)

    @torch.no_grad()
    def images(self, pictures: Tensor) -> Tensor:
        """L2-normalised features [N, D] of pictures uint8 [N, S, S, 3]."""
        return torch.cat([self.see(as_input(part.to(self._device))) for part in pictures.split(64)])

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """L2-normalised features [N, D] of texts."""
        parts = (texts[first : first + 256] for first in range(0, len(texts), 256))
        return torch.cat([self.read(part) for part in parts])


def new_caption_tests() -> CaptionTests:
    """What a training looks at from time to time."""
    return draw_caption_tests(_TESTS)


def train_clip(
    data: Path,
    state: Path,
    tokenizer: Path,
    *,
    minutes: float,
    batch: int = 128,
    lr: float = 1.5e-3,
    device: str = "cpu",
    seed: int = 0,
    network: Callable[[Vocabulary], Clip] = new_clip,
    tests: Callable[[], CaptionTests] = new_caption_tests,
) -> Training:
    """Train, or continue, until ``minutes`` of training have passed in all.

    ``tokenizer``: the folder of the base's tokenizer. ``tests``: what the curve's accuracies are
    measured on.
    """
    torch.manual_seed(seed)
    clip = network(read_vocabulary(tokenizer)).to(device).train()
    if device == "cpu":
        clip.set_attn_implementation("eager")  # 1.7 times as fast as SDPA on a CPU
    training = Training(state / FILE, {"clip": clip}, minutes=minutes, peak=lr)
    training.resume()
    words = CLIPTokenizer.from_pretrained(tokenizer)
    reader = Reader(clip, words, device)
    average = Reader(training.averages["clip"], words, device)
    exam = tests()
    stock = Stock(data, "pictures", device)
    truths: list[Words] = []

    def refresh() -> None:
        stock.refresh()
        truths.extend(Words.of(scene) for scene in stock.scenes[len(truths) :])
        stock.note(training.notes)
        if training.step:
            training.record(captions=round(caption_accuracy(average, exam), 4))

    refresh()
    for step in training.steps(refresh):
        rng = random.Random(seed * 1_000_003 + step)
        rows = draw_rows(len(stock), batch, rng)
        sentences = write_sentences([truths[row] for row in rows], rng)
        where = torch.tensor(rows, device=device)
        generator = torch.Generator(device).manual_seed(rng.getrandbits(63))
        kept = None
        if training.share < PART_TIME:
            kept = keep_patches(stock.tensors["masks"][where], PART, 1.0, generator)
        loss = contrastive_loss(
            reader.see(as_input(stock.tensors["images"][where]), kept),
            reader.read(sentences.texts),
            sentences.true.to(device),
            clip.logit_scale,
        )
        training.learn(loss, batch)
    training.record(captions=round(caption_accuracy(average, exam), 4))
    return training


def draw_rows(count: int, batch: int, rng: random.Random) -> list[int]:
    """Rows of a batch: half of it whole groups, the others from anywhere; none twice."""
    firsts = rng.sample(range(count // GROUP), batch // 2 // GROUP)
    grouped = [first * GROUP + place for first in firsts for place in range(GROUP)]
    taken = set(grouped)
    while len(taken) < batch:
        taken.add(rng.randrange(count))
    return [*grouped, *sorted(taken.difference(grouped))]


class Sentences(NamedTuple):
    """Sentences for B pictures, the own one of each first; ``true`` bool [B, texts]."""

    texts: Sequence[str]
    true: Tensor


def write_sentences(truths: Sequence[Words], rng: random.Random) -> Sentences:
    """A sentence for each picture, then ``WRONG`` for each that differ from it in one group."""
    own = [_shortened(words, rng) for words in truths]
    wrong = [_changed(words, rng) for words in own for _ in range(WRONG)]
    said, seen = _codes([*own, *wrong]), _codes(truths)
    true = ((said[None] == 0) | (said[None] == seen[:, None])).all(-1)
    return Sentences([words.text(rng) for words in (*own, *wrong)], true)


def contrastive_loss(pictures: Tensor, texts: Tensor, true: Tensor, log_scale: Tensor) -> Tensor:
    """Cross entropy of pictures [B, D] against texts [T, D] and back; the first B belong together.

    ``true``: bool [B, T], which texts are true of which pictures; apart from its own, a picture is
    not compared with these.
    """
    count = len(pictures)
    logits = log_scale.exp().clamp(max=LARGEST_SCALE) * pictures @ texts.T
    own = torch.eye(count, len(texts), dtype=torch.bool, device=true.device)
    logits = logits.masked_fill(true & ~own, -torch.inf)
    goal = torch.arange(count, device=logits.device)
    there = functional.cross_entropy(logits, goal)
    back = functional.cross_entropy(logits[:, :count].T, goal)
    return (there + back) / 2


def _shortened(words: Words, rng: random.Random) -> Words:
    unsaid = [group for group in GROUPS if group != "toy" and rng.random() >= SAID]
    return replace(words, **dict.fromkeys(unsaid))


def _changed(words: Words, rng: random.Random) -> Words:
    """Another sentence, with another choice in one word group; groups are equally likely."""
    changed = [words.alternatives(group) for group in GROUPS]
    return rng.choice(rng.choice([some for some in changed if some]))


def _codes(sentences: Sequence[Words]) -> Tensor:
    """Word groups as numbers, int64 [N, groups]; 0 where nothing is said."""
    return torch.tensor(
        [
            [
                0 if (said := getattr(words, group)) is None else _number(group, said)
                for group in GROUPS
            ]
            for words in sentences
        ]
    )


def _number(group: str, option: str) -> int:
    return options(group).index(option) + 1
