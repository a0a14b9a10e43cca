"""The learnt words as embeddings: one safetensors file a word, as many programs read it.

A file holds exactly one tensor, fp32 [V, D], whose key is the word. diffusers takes the word from
the key (loaders/textual_inversion.py), Automatic1111 and ComfyUI from the file's name, and all of
them, and kohya's scripts, the vectors from the only tensor.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from rarebooth.artifact import Artifact
from rarebooth.errors import SettingsError
from rarebooth.exports import Source

LONGEST_STEM = 80
"""Letters of a file's name: far below the 255 bytes that one may have."""


@dataclass(frozen=True)
class Embedding:
    """``<word>-<noun>.safetensors`` for each new word."""

    def write(self, source: Source, folder: Path) -> str:
        """Write the words; SettingsError where no word was learnt."""
        learnt = source.learnt
        if not learnt.delta.tokens:
            raise SettingsError(
                f"A subject learnt by {learnt.header.method} has no new word, so there is no "
                "embedding to export. Export it with --to diffusers."
            )
        if learnt.delta.weights:
            source.notice(
                f"{learnt.header.method} changed the network besides the word. The embedding holds "
                "the word alone and draws a weaker likeness; --to diffusers exports all of it."
            )
        stems = _stems(learnt)
        for token, vectors in learnt.delta.tokens.items():
            save_file(
                {spelling(token): vectors.contiguous()},
                folder / f"{stems[token]}.safetensors",
                {"format": "pt"},
            )
        paths = (str(source.out / f"{stem}.safetensors") for stem in stems.values())
        return "; ".join(f"pipe.load_textual_inversion({json.dumps(path)})" for path in paths)


def spelling(token: str) -> str:
    """The word for other programs: in lower case, and in brackets where it has parentheses.

    Front ends weigh words by parentheses, and diffusers finds the further vectors of a word only
    where the word has no capitals.

    >>> spelling("(rare)"), spelling("<MyDog>")
    ('<rare>', '<mydog>')
    """
    return re.sub(r"^\((.+)\)$", r"<\1>", token.lower())


def _stems(learnt: Artifact) -> Mapping[str, str]:
    """File names of the words, each once: a-z, 0-9 and hyphens.

    ComfyUI cuts a name at the first bracket. The noun keeps Automatic1111, to which the name is the
    word, from reading an embedding wherever a prompt says "rare".
    """
    stems: dict[str, str] = {}
    for token in learnt.delta.tokens:
        named = zip(learnt.delta.phrases, learnt.header.nouns, strict=False)
        noun = next((noun for phrase, noun in named if token in phrase), "")
        words = re.sub(r"[^a-z0-9]+", "-", f"{token} {noun}".lower()).strip("-")
        stem = words[:LONGEST_STEM] or "subject"
        taken = [*stems.values()].count(stem)
        stems[token] = f"{stem}-{taken + 1}" if taken else stem
    return stems
