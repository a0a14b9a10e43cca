"""New words for a text encoder.

CLIP's tokenizer has two entries spelled "rare": the sub-word and the word. Only encoding the text
finds the word; looking the string up in the vocabulary finds the sub-word.
"""

import re
from typing import Any

from rarebooth.errors import SettingsError

ALIASES = {"<rare>": "(rare)"}
"""Spellings for front ends in which parentheses weigh words, and the token they stand for."""


LONGEST_NUMBER = 4
"""Digits in the braces of a prompt: far more subjects than one model learns."""

LONGEST_PROMPT = 400
"""Letters of a prompt that is refused which are repeated."""


def canonical(prompt: str) -> str:
    """Replace alias spellings by the tokens they stand for."""
    for alias, token in ALIASES.items():
        prompt = prompt.replace(alias, token)
    return prompt


def fill(template: str, *phrases: str) -> str:
    """Put the subjects' phrases where a prompt says ``{}``, and tokens for their aliases.

    ``{1}`` and ``{}`` stand for the first, ``{2}`` for the second.

    Raises:
        SettingsError: a number that no subject has.
    """

    def phrase(place: re.Match[str]) -> str:
        # Python makes no number of thousands of digits.
        number = int(place[1] or 1) if len(place[1]) <= LONGEST_NUMBER else 0
        if not 1 <= number <= len(phrases):
            known = ", ".join(f"{{{n}}} is {each!r}" for n, each in enumerate(phrases, start=1))
            said = place[0] if len(place[1]) <= LONGEST_NUMBER else "a longer number in braces"
            raise SettingsError(
                f"The prompt {template[:LONGEST_PROMPT]!r} says {said}, and no subject has that "
                f"number: {known}."
            )
        return phrases[number - 1]

    return canonical(re.sub(r"\{([0-9]*)\}", phrase, template))


def word_id(tokenizer: Any, word: str) -> int:  # noqa: ANN401  tokenizers share no typed parent
    """The id of a word that is one token when written as text, or else of a piece of words.

    Custom Diffusion starts its word from such a piece: "ktn", which as text is two tokens of CLIP.

    Raises SettingsError if it is several tokens: its embedding could not start a new token.
    """
    ids: list[int] = tokenizer.encode(word, add_special_tokens=False)
    if len(ids) != 1 and word in tokenizer.get_vocab():
        return int(tokenizer.convert_tokens_to_ids(word))
    if len(ids) != 1:
        raise SettingsError(
            f"The initial word {word!r} is {len(ids)} tokens in this base's vocabulary; it must be "
            "one. Pick a common English word."
        )
    return ids[0]


def add_token(tokenizer: Any, token: str) -> int:  # noqa: ANN401
    """Add one new token to a tokenizer and return its id.

    Raises SettingsError if the vocabulary already holds the token: its trained meaning would be
    overwritten.
    """
    if not token.strip() or any(character.isspace() for character in token):
        raise SettingsError(f"The token {token!r} must be one word without spaces, like '(rare)'.")
    # add_tokens takes a word of the vocabulary without complaint: CLIP spells it "rare</w>" there.
    is_word = len(tokenizer.encode(token, add_special_tokens=False)) == 1
    if is_word or token in tokenizer.get_vocab() or tokenizer.add_tokens([token]) != 1:
        raise SettingsError(
            f"The token {token!r} is already a word of this base model; pick one that is not, like "
            "'(rare)'."
        )
    return int(tokenizer.convert_tokens_to_ids(token))
