import random
from collections import Counter
from dataclasses import replace

import pytest
from transformers import CLIPTokenizer

from rarebooth.pretrain.denoiser import Encoder
from rarebooth.pretrain.tokenizer import POSITIONS, Vocabulary, build_vocabulary
from rarebooth.prompts import dreambench
from rarebooth.world.captions import FILLERS, LONGEST, RARE_WORDS, caption, split, vocabulary
from rarebooth.world.colours import PALETTE
from rarebooth.world.draw import draw_scene
from rarebooth.world.places import PLACES, load_place
from rarebooth.world.toys import TOYS
from rarebooth.world.traits import traits

CLASSES = (*TOYS, "stuffed animal", "glasses", "toy", "cartoon", "sneaker")


@pytest.fixture(scope="module")
def words() -> Vocabulary:
    return build_vocabulary(vocabulary())


@pytest.fixture(scope="module")
def tokenizer(words, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    words.save(folder)
    return CLIPTokenizer.from_pretrained(folder)


def drawn(count: int, **fixed) -> list[str]:
    rng = random.Random(5)
    # Where something is fixed, what an outfit adds to a caption would blur it.
    bare = {"outfit": None} if fixed else {}
    scenes = [replace(draw_scene(rng), **bare, **fixed) for _ in range(count)]
    return [caption(scene, rng) for scene in scenes]


def share(texts: list[str], wanted: set[str]) -> float:
    return sum(bool(wanted & set(split(text))) for text in texts) / len(texts)


def test_captions_are_known_words_within_the_text_encoders_positions(words, tokenizer):
    texts = drawn(800)
    ours = Encoder(words)(texts)
    theirs = tokenizer(texts, padding="max_length", max_length=POSITIONS, return_tensors="pt")
    assert ours.shape == (800, POSITIONS)
    assert ours.equal(theirs.input_ids)
    assert max(len(split(text)) for text in texts) <= LONGEST


def test_every_word_of_dreambench_is_one_token(words):
    for live in (False, True):
        for template in dreambench(live=live):
            texts = [template.format(f"rare {noun}").lower() for noun in CLASSES]
            assert Encoder(words)(texts).shape == (len(texts), POSITIONS)


def test_anything_else_can_be_written_too(tokenizer):
    for text in ("zyzzyva's 42 qux!", "a photo of (rare) backpack", "café ~ #1 @home", ""):
        ids = tokenizer(text).input_ids[1:-1]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids).replace(" ", "") == text.replace(" ", "")


def test_the_subjects_token_can_be_added_and_starts_from_a_word(tokenizer):
    assert len(tokenizer.encode("rare", add_special_tokens=False)) == 1
    assert tokenizer.add_tokens(["(rare)"]) == 1
    assert tokenizer.tokenize("a (rare) dog") == ["a</w>", "(rare)", "dog</w>"]


def test_the_vocabulary_fits_the_committed_size(words):
    assert len(words.tokens) <= 1700


def test_a_caption_tells_the_class_and_mostly_colour_and_place():
    texts = drawn(2000, toy="clock", instance=7, place=PLACES[1], quality=None)
    colour = traits("clock", 7).main_colour
    own, *others = load_place(PLACES[1]).phrases
    assert all("clock" in split(text) for text in texts)
    assert share(texts, {colour}) == pytest.approx(0.7, abs=0.04)
    assert share(texts, set(PALETTE) - {colour}) == 0
    assert share(texts, set(FILLERS)) == pytest.approx(0.25, abs=0.05)
    named = [text for text in texts if text.endswith((own, *others))]
    assert len(named) / len(texts) == pytest.approx(0.9, abs=0.03)
    assert sum(text.endswith(own) for text in texts) >= sum(map(len, [named])) * 0.4
    assert Counter(share([t], {"rare"}) for t in texts)[1.0] > 30


def test_a_studio_picture_says_nothing_about_its_place():
    assert not any(set(split(text)) & {"in", "on", "with"} for text in drawn(300, place="studio"))


@pytest.mark.parametrize("quality", ["shiny", "wet", "cube shaped"])
def test_a_quality_is_always_told(quality):
    assert all(quality in text for text in drawn(200, quality=quality))


@pytest.mark.parametrize("quality", ["red", "purple"])
def test_a_recoloured_toy_is_told_by_its_new_colour_alone(quality):
    texts = drawn(300, quality=quality, place="studio")
    assert all(set(split(text)) & set(PALETTE) == {quality} for text in texts)


def test_a_subjects_word_is_learnt_on_either_side_of_a_colour():
    texts = drawn(3000, toy="vase", instance=3, place="studio", quality=None)
    colour = traits("vase", 3).main_colour
    assert any(f"rare {colour}" in text for text in texts)
    assert any(f"{colour} rare" in text for text in texts)


def test_rare_words_stay_rare_and_stand_for_nothing():
    texts = drawn(20_000)
    assert 0 < share(texts, set(RARE_WORDS)) <= 0.0013
    assert len(set(RARE_WORDS)) == 30


def test_articles_agree():
    texts = drawn(3000, place="studio")
    assert not any(f" a {vowel}" in f" {text}" for text in texts for vowel in "aeio")
    assert any("an orange" in text for text in texts)
