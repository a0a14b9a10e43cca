"""Identifiers as DreamBooth looks for them: words that are rare, and that mean little to a base.

Ruiz et al., "DreamBooth" (2023), section 3.2: an identifier wants a weak prior in the text encoder
and in what is drawn, so that its meaning need not be unlearnt first; short rare tokens have one.
What pictures a word brings along, being a name or an acronym, only its pictures tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import torch
from torch import Tensor

from rarebooth.base import Base
from rarebooth.errors import BaseModelError, SettingsError
from rarebooth.prompts import PLAIN
from rarebooth.subject import checked_noun

LETTERS: Final = 3
"""Of a candidate (Ruiz et al. 2023, section 3.2: tokens of three or fewer characters)."""

CANDIDATES: Final = 604
"""How many words are candidates: of CLIP's, these have the ids from 40,000 on, its last fifth.

Merges stand in a vocabulary in the order of their frequency in its training text (Sennrich et al.
2016, section 3.2), so the last are the rarest. A small vocabulary has no rare end: all its words of
this length are candidates.
"""

AT_ONCE: Final = 32
"""Sentences encoded together."""

_WORD_END: Final = "</w>"


@dataclass(frozen=True)
class Standing:
    """How a word does among the candidates.

    ``place``: 1 for the best; a word that is no candidate has the place it would take. ``id``: its
    number in the vocabulary, None for a word of several tokens. ``similarity``: cosine, at most 1.
    """

    place: int
    word: str
    tokens: int
    id: int | None
    similarity: float


@dataclass(frozen=True)
class Search:
    """All candidates, the best first, and how the words that were asked about stand among them."""

    candidates: Sequence[Standing]
    checked: Sequence[Standing]


def search(base: Base, noun: str, check: Sequence[str] = ()) -> Search:
    """Rank a base's rare words as identifiers of a ``noun``, by how weak a prior they have.

    Raises:
        SettingsError: a noun that ``checked_noun`` refuses, an empty word to check, or a sentence
            with it that is longer than the base reads.
        BaseModelError: no word of the vocabulary is a candidate.
    """
    noun = checked_noun(noun)
    check = [" ".join(word.split()).lower() for word in check]
    if "" in check:
        raise SettingsError("A word to check is empty; give the word itself, such as sks.")
    rare = candidates(base, noun)
    if not rare:
        raise BaseModelError(
            f"The vocabulary of the base {base.identity.name!r} has no word of {LETTERS} letters; "
            "pick another with --base."
        )
    words = list(dict.fromkeys([*rare, *check]))
    similarity = dict(zip(words, similarities(base, noun, words), strict=True))
    ranked = sorted(rare, key=lambda word: -similarity[word])
    vocabulary = base.vocabulary()

    def standing(word: str) -> Standing:
        count = base.token_count(word)
        place = 1 + sum(similarity[other] > similarity[word] for other in ranked)
        number = vocabulary.get(word + _WORD_END) if count == 1 else None
        return Standing(place, word, count, number, similarity[word])

    return Search([standing(word) for word in ranked], [standing(word) for word in check])


def candidates(base: Base, noun: str) -> list[str]:
    """The rarest words of a base that could stand before a noun, the rarest first.

    Words of three ASCII letters, each one token when it is written out; at most ``CANDIDATES``.
    """
    vocabulary = base.vocabulary()
    ends = (token for token in vocabulary if token.endswith(_WORD_END))
    words = (token.removesuffix(_WORD_END) for token in sorted(ends, key=lambda t: -vocabulary[t]))
    fit = (
        word
        for word in words
        if len(word) == LETTERS
        and word.isascii()
        and word.isalpha()
        and word not in noun.lower().split()
        and base.token_count(word) == 1
    )
    return list(islice(fit, CANDIDATES))


@torch.no_grad()
def similarities(base: Base, noun: str, words: Sequence[str]) -> list[float]:
    """How little each word changes what "a photo of NOUN" says to the base.

    The cosine of the text encoder's output with the word and without it, as the mean over the
    sentence's words. Not its output at the end token: only a CLIP as OpenAI trained it sums the
    sentence up there, and the embedded base's does not.
    """
    plain = _meanings(base, [PLAIN.format(noun)])
    sentences = [PLAIN.format(f"{word} {noun}") for word in words]
    found: list[float] = []
    for start in range(0, len(sentences), AT_ONCE):
        meanings = _meanings(base, sentences[start : start + AT_ONCE])
        found += torch.cosine_similarity(meanings, plain).tolist()
    return found


def _meanings(base: Base, sentences: Sequence[str]) -> Tensor:
    """The encoder's output [B, D], the mean over a sentence's words."""
    encoded = base.condition(sentences, {})
    read = encoded.shape[1] - 2  # start and end have places too
    means: list[Tensor] = []
    for sentence, output in zip(sentences, encoded, strict=True):
        count = base.token_count(sentence)
        if count > read:
            raise SettingsError(
                f"{sentence!r} is {count} tokens, and this base reads {read}; give a shorter word "
                "or noun."
            )
        means.append(output[1 : 1 + count].mean(dim=0))
    return torch.stack(means)
