"""CLIP's tokenizer with a vocabulary of the miniature world's own.

Every given word becomes one token. Whatever else is written falls apart into smaller pieces, in the
end into bytes, so that any text can be encoded. Words are merged as in Sennrich et al. 2016, each
counted once, until no word is in pieces.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from rarebooth.store import write_json, writing

BEGIN: Final = "<|startoftext|>"
END: Final = "<|endoftext|>"
"""CLIP's marks; the end also fills up the positions behind it."""

POSITIONS: Final = 24
"""Tokens of a prompt, begin and end included."""

_WORD_END: Final = "</w>"


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order of their ids, and the merges in the order of their rank."""

    tokens: Sequence[str]
    merges: Sequence[tuple[str, str]]

    @property
    def begin(self) -> int:
        """The id that opens every prompt."""
        return len(self.tokens) - 2

    @property
    def end(self) -> int:
        """The id that closes every prompt and pads it."""
        return len(self.tokens) - 1

    def save(self, folder: Path) -> None:
        """Write the files that ``CLIPTokenizer.from_pretrained`` reads."""
        write_json(folder / "vocab.json", {token: i for i, token in enumerate(self.tokens)})
        with writing(folder / "merges.txt") as beside:
            lines = ("#version: 0.2", *(f"{left} {right}" for left, right in self.merges), "")
            beside.write_text("\n".join(lines), encoding="utf-8")
        marks = {"bos_token": BEGIN, "eos_token": END, "unk_token": END, "pad_token": END}
        write_json(folder / "special_tokens_map.json", marks)
        settings = {
            **marks,
            "add_prefix_space": False,
            "do_lower_case": True,
            "errors": "replace",
            "model_max_length": POSITIONS,
            "tokenizer_class": "CLIPTokenizer",
        }
        write_json(folder / "tokenizer_config.json", settings)


def read_vocabulary(folder: Path) -> Vocabulary:
    """The vocabulary that ``Vocabulary.save`` wrote."""
    ids: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines)]
    return Vocabulary(sorted(ids, key=ids.__getitem__), merges)


def build_vocabulary(words: Iterable[str]) -> Vocabulary:
    """The vocabulary in which each of the lower-case words is one token."""
    pieces = [[*word[:-1], word[-1] + _WORD_END] for word in dict.fromkeys(words)]
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for word in pieces for pair in pairwise(word))
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        pieces = [_merged(word, best) for word in pieces]
    letters = _byte_letters()
    tokens = [*letters, *(letter + _WORD_END for letter in letters)]
    tokens += [left + right for left, right in merges]
    return Vocabulary([*dict.fromkeys(tokens), BEGIN, END], merges)


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    result: list[str] = []
    for piece in word:
        if result and (result[-1], piece) == pair:
            result[-1] += piece
        else:
            result.append(piece)
    return result


def _byte_letters() -> list[str]:
    """The letters that stand for the 256 bytes in GPT-2's and CLIP's vocabularies, in order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = 256 - len(printable)
    return [chr(byte) for byte in (*printable, *range(256, 256 + others))]
