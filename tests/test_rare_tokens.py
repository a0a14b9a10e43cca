"""Rare words as identifiers: which are candidates, how they rank, what the verb says of them."""

import json
import math
import re

import pytest
import torch
from transformers import CLIPTokenizer

from rarebooth import rare_tokens
from rarebooth.bases import open_base
from rarebooth.cli import run
from rarebooth.errors import BaseModelError, SettingsError
from rarebooth.rare_tokens import candidates, search, similarities
from rarebooth.world.captions import RARE_WORDS
from tiny import build_folder
from toy_base import WIDTH, ToyBase

POSITIONS = 12
ANGLES = {"xqj": 0.1, "vvk": 0.4, "loud": 1.2, "red": 1.0}
IDS = {
    **{"a</w>": 0, "photo</w>": 1, "of</w>": 2, "red</w>": 3, "loud</w>": 4, "xqj</w>": 5},
    **{"vvk</w>": 6, "dog</w>": 7, "xyz": 8, "a1b</w>": 9, "éüa</w>": 10, "wxy</w>": 11},
}
APART = "wxy"
"""In the vocabulary, but written out it falls apart."""


class Listener(ToyBase):
    """A word's output is turned by a known angle; start and padding are noise that nobody reads."""

    def vocabulary(self):
        return IDS

    def token_count(self, text):
        return len(self._pieces(text))

    def condition(self, prompts, tokens):
        dice = torch.Generator().manual_seed(len(prompts))
        encoded = torch.randn(len(prompts), POSITIONS, WIDTH, generator=dice) * 50
        for row, prompt in zip(encoded, prompts, strict=True):
            for place, piece in enumerate(self._pieces(prompt)[: POSITIONS - 2], start=1):
                angle = ANGLES.get(piece, 0.0)
                row[place] = torch.zeros(WIDTH)
                row[place, :2] = torch.tensor([math.cos(angle), math.sin(angle)])
        return encoded

    def _pieces(self, text):
        whole = {token.removesuffix("</w>") for token in IDS} - {APART}
        return [
            piece for word in text.split() for piece in ([word] if word in whole else list(word))
        ]


def test_candidates_are_whole_words_of_three_letters_the_last_of_the_vocabulary_first(monkeypatch):
    assert candidates(Listener(), "cat") == ["dog", "vvk", "xqj", "red"]
    assert candidates(Listener(), "big Dog") == ["vvk", "xqj", "red"]
    monkeypatch.setattr(rare_tokens, "CANDIDATES", 2)
    assert candidates(Listener(), "dog") == ["vvk", "xqj"]


def test_the_word_that_changes_the_sentence_least_is_first_and_only_words_count():
    found = search(Listener(), " dog ", ["Loud", "xqj", "ae"])
    assert [row.word for row in found.candidates] == ["xqj", "vvk", "red"]
    assert [row.place for row in found.candidates] == [1, 2, 3]
    assert [row.id for row in found.candidates] == [5, 6, 3]
    best = found.candidates[0]
    # Four words as they were and one turned by 0.1: the mean's angle.
    turned = math.atan2(math.sin(0.1), 4 + math.cos(0.1))
    assert best.similarity == pytest.approx(math.cos(turned), abs=1e-6)
    loud, own, pieces = found.checked
    assert (loud.word, loud.place, loud.tokens, loud.id) == ("loud", 4, 1, 4)
    assert own == best
    assert (pieces.tokens, pieces.id, pieces.place) == (2, None, 1)


def test_a_ranking_does_not_depend_on_how_many_sentences_are_read_at_once(monkeypatch):
    whole = similarities(Listener(), "dog", ["xqj", "vvk", "red"])
    monkeypatch.setattr(rare_tokens, "AT_ONCE", 2)
    assert similarities(Listener(), "dog", ["xqj", "vvk", "red"]) == pytest.approx(whole)


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(SettingsError, match="empty"):
        search(Listener(), "dog", ["  "])
    with pytest.raises(SettingsError, match="class noun is empty"):
        search(Listener(), " ")
    with pytest.raises(SettingsError, match="is 12 tokens, and this base reads 10"):
        search(Listener(), "dog", ["xxy5syt0"])
    with pytest.raises(BaseModelError, match="no word of 3 letters"):
        search(ToyBase(), "dog")


def test_clips_candidates_are_its_604_rarest_words_of_three_letters(clip_tokenizer):
    tokenizer = CLIPTokenizer.from_pretrained(clip_tokenizer("<|endoftext|>"))

    vocabulary = tokenizer.get_vocab()

    class Clip(ToyBase):
        def vocabulary(self):
            return vocabulary

        def token_count(self, text):
            return len(tokenizer.encode(text, add_special_tokens=False))

    short = {token for token in vocabulary if re.fullmatch("[a-z]{3}</w>", token)}
    rare = {token for token in short if 40_000 <= vocabulary[token] <= 49_405}
    found = candidates(Clip(), "dog")
    assert {f"{word}</w>" for word in found} == rare
    assert len(found) == len(rare) == 604
    assert "sks" in found


@pytest.mark.parametrize("noun", ["dog", "backpack", "teapot"])
def test_words_that_mean_much_to_the_embedded_base_rank_below_those_that_mean_nothing(noun):
    strong = ["red", "purple", "shiny", "wet"]
    found = search(open_base("embedded"), noun, [*strong, *RARE_WORDS])
    rare = sorted(row.place for row in found.checked if row.word in RARE_WORDS)
    meant = [row.place for row in found.checked if row.word in strong]
    assert {*RARE_WORDS} <= {row.word for row in found.candidates}
    assert sum(place < min(meant) for place in rare) >= 27, (rare, meant)
    assert min(meant) > 0.8 * len(found.candidates), meant


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return build_folder(tmp_path_factory.mktemp("bases") / "tiny")


def test_the_verb_lists_tokens_says_what_the_number_means_and_warns_of_sks(base, capsys):
    command = ["tokens", "--noun", "dog", "--base", str(base), "--device", "cpu"]
    assert run([*command, "--count", "3", "--check", "sks", "--check", "backpack dog"]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == "The best of 6 candidates in tiny, before 'dog':"
    assert lines[1].split() == ["rank", "token", "id", "similarity"]
    assert [line.split()[0] for line in lines[2:5]] == ["1", "2", "3"]
    assert lines[5] == "Checked, with the place among these 6:"
    assert lines[7].split()[1] == "sks"
    assert lines[8].endswith("2 tokens")
    assert 'little the word changes "a photo of dog"' in lines[9]
    assert "also a rifle" in shown.err


def test_the_verb_writes_json_alone_to_standard_output(base, capsys):
    command = ["tokens", "--noun", "dog", "--base", str(base), "--json", "--device", "cpu"]
    assert run([*command, "--count", "2", "--check", "red"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["base"], content["noun"], content["candidates"]) == ("tiny", "dog", 6)
    assert [row["place"] for row in content["tokens"]] == [1, 2]
    (red,) = content["checked"]
    assert {*red} == {"place", "word", "tokens", "id", "similarity"}
    assert (red["word"], red["tokens"]) == ("red", 1)
    assert run([*command[:-3], "--check", ""]) == 2
