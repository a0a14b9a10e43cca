"""New words for a text encoder.

CLIP's tokenizer has two entries spelled "rare": the sub-word and the word. Only encoding the text
finds the word; looking the string up in the vocabulary finds the sub-word.
"""

from typing import Any

from rarebooth.errors import SettingsError

ALIASES = {"<rare>": "(rare)"}
"""Spellings for front ends in which parentheses weigh words, and the token they stand for."""


def canonical(prompt: str) -> str:
    """Replace alias spellings by the tokens they stand for."""
    for alias, token in ALIASES.items():
        prompt = prompt.replace(alias, token)
    return prompt


def fill(template: str, phrase: str) -> str:
    """Put the subject's phrase where a prompt says ``{}``, and tokens for their aliases."""
    return canonical(template.replace("{}", phrase))


def word_id(tokenizer: Any, word: str) -> int:  # noqa: ANN401  tokenizers share no typed parent
    """The id of a word that is one token when written as text.

    Raises SettingsError if the word is several tokens: its embedding could not start a new token.
    """
    ids: list[int] = tokenizer.encode(word, add_special_tokens=False)
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
