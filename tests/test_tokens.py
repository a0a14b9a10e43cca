"""New words: what CLIP's real vocabulary does to them, and what is refused."""

import copy
import os
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from rarebooth.errors import SettingsError
from rarebooth.methods.two_stage import TwoStage
from rarebooth.tokens import add_token, canonical, fill, word_id
from tiny import WORDS, build_tokenizer, merges_for

START, END = 49406, 49407


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = build_tokenizer(tmp_path_factory.mktemp("small") / "tokenizer", merges_for(WORDS))
    return CLIPTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def clip(clip_tokenizer):
    tokenizer = CLIPTokenizer.from_pretrained(clip_tokenizer("<|endoftext|>"))
    assert len(tokenizer) == 49408
    return tokenizer


@pytest.fixture
def with_rare(clip):
    tokenizer = copy.deepcopy(clip)
    assert add_token(tokenizer, "(rare)") == 49408
    return tokenizer


def ids(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


def test_every_word_of_the_small_vocabulary_is_one_token_and_rare_a_sub_word_too(small):
    assert all(len(ids(small, word)) == 1 for word in WORDS)
    vocabulary = small.get_vocab()
    assert {"rare", "rare</w>"} <= set(vocabulary)
    assert word_id(small, "rare") == vocabulary["rare</w>"]


@pytest.mark.parametrize("token", ["(rare)", "og", "[SKS]"])
@pytest.mark.parametrize("noun", ["dog", "(RARE) dog", "sks", "red og", "[sks]"])
@pytest.mark.parametrize("prompt", ["a photo of {}", "{} and {}", "a og {}", "(rare){}"])
def test_a_training_prompt_is_let_through_where_it_holds_the_new_word_once(
    small, token, noun, prompt
):
    tokenizer = copy.deepcopy(small)
    new = add_token(tokenizer, token)
    method = TwoStage(token=token, prompt=prompt)
    times = ids(tokenizer, prompt.replace("{}", f"{token} {noun}")).count(new)
    if times == 1:
        method.check_noun(noun)
    else:
        with pytest.raises(SettingsError):
            method.check_noun(noun)


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("a photo of {} here", "a photo of (rare) dog here"),
        ("a photo of <rare> dog", "a photo of (rare) dog"),
        ("{} and {}", "(rare) dog and (rare) dog"),
        ("no subject, {a} {curly}", "no subject, {a} {curly}"),
        ("{1} and {}", "(rare) dog and (rare) dog"),
    ],
)
def test_templates_are_filled_and_aliases_replaced(template, prompt):
    assert fill(template, "(rare) dog") == fill(template, "<rare> dog") == prompt


def test_numbers_stand_for_subjects_in_their_order():
    assert fill("{2} and {1} and {}", "<a> dog", "<b> cat") == "<b> cat and <a> dog and <a> dog"
    assert fill("{1}", "{2}", "<b> cat") == "{2}"


@pytest.mark.parametrize("place", ["{0}", "{3}", "{10}", "{" + "1" * 5000 + "}"])
def test_a_number_that_no_subject_has_is_refused(place):
    with pytest.raises(SettingsError, match=r"\{1\} is '<a> dog', \{2\} is '<b> cat'"):
        fill(f"a photo of {place}", "<a> dog", "<b> cat")


def test_canonical_leaves_other_brackets_alone():
    assert canonical("a <b> rare (rare) <rare>") == "a <b> rare (rare) (rare)"


def test_the_word_rare_is_not_the_sub_word(clip):
    assert word_id(clip, "rare") == 3865
    assert clip.convert_tokens_to_ids("rare") == 18992
    assert word_id(clip, "sks") == 48136


@pytest.mark.parametrize("word", ["(rare)", "two words", "xyzzyx", ""])
def test_an_initial_word_of_several_tokens_is_refused(clip, word):
    with pytest.raises(SettingsError, match="must be one"):
        word_id(clip, word)


def test_without_adding_it_the_token_is_three(clip, with_rare):
    assert ids(clip, "(rare)") == [263, 3865, 264]
    assert ids(with_rare, "(rare)") == [49408]
    assert len(clip) == 49408


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("(rare)backpack", 1),
        ("a photo of(rare) dog", 1),
        ("((rare)) dog", 1),
        ("a (Rare) dog and a (RARE) cat", 2),
        ("(rare)(rare)", 2),
        ("x(rare)y", 1),
        ("(rare dog)", 0),
        ("( rare )", 0),
        ("rare", 0),
    ],
)
def test_where_the_new_word_is_found(with_rare, text, count):
    assert ids(with_rare, text).count(49408) == count


def test_text_around_the_new_word_reads_as_before(clip, with_rare):
    text = "a photo of a rare backpack, (on the beach)!"
    assert ids(with_rare, text) == ids(clip, text)
    around = ids(with_rare, "a photo of (rare) backpack")
    assert around == [*ids(clip, "a photo of"), 49408, *ids(clip, "backpack")]


def test_every_prompt_of_dreambench_holds_the_new_word_once_and_whole(with_rare):
    prompts = list(dreambench_prompts())
    assert len(prompts) == 30 * 25
    for prompt in prompts:
        cut = with_rare(prompt, truncation=True, max_length=77).input_ids
        assert cut.count(49408) == 1, prompt
        assert len(cut) < 77
        assert (cut[0], cut[-1]) == (START, END)


@pytest.mark.parametrize(("pad", "number"), [("<|endoftext|>", END), ("!", 0)])
def test_padding_follows_special_tokens_map(clip_tokenizer, pad, number):
    tokenizer = CLIPTokenizer.from_pretrained(clip_tokenizer(pad))
    padded = tokenizer("a dog", padding="max_length", max_length=77).input_ids
    assert padded == [START, 320, 1929, END] + [number] * 73


@pytest.mark.parametrize("token", ["", " ", "two words", "a\tb", "(rare) "])
def test_a_token_with_spaces_is_refused(small, token):
    with pytest.raises(SettingsError, match="without spaces"):
        add_token(copy.deepcopy(small), token)


@pytest.mark.parametrize("token", ["rare", "Rare", "rarebi", "dog", "sks", "<|endoftext|>", "!"])
def test_a_token_that_is_already_a_word_is_refused(small, token):
    with pytest.raises(SettingsError, match="already a word"):
        add_token(copy.deepcopy(small), token)


def test_a_token_cannot_be_added_twice(small):
    tokenizer = copy.deepcopy(small)
    add_token(tokenizer, "(rare)")
    for again in ("(rare)", "(RARE)"):
        with pytest.raises(SettingsError, match="already a word"):
            add_token(tokenizer, again)


@pytest.mark.parametrize("token", ["rare", "sks", "dog", "backpack"])
def test_words_of_clip_are_refused_as_tokens(clip, token):
    before = ids(clip, "asks for masks of sks dogs")
    tokenizer = copy.deepcopy(clip)
    with pytest.raises(SettingsError, match="already a word"):
        add_token(tokenizer, token)
    assert ids(tokenizer, "asks for masks of sks dogs") == before


def dreambench_prompts():
    """The prompts of every subject, read from the data set's own file."""
    place = os.environ.get("RAREBOOTH_DREAMBENCH")
    if not place or not (Path(place) / "prompts_and_classes.txt").is_file():
        pytest.skip("RAREBOOTH_DREAMBENCH does not name a folder with prompts_and_classes.txt")
    text = (Path(place) / "prompts_and_classes.txt").read_text(encoding="utf-8")
    classes = dict(line.split(",") for line in text.splitlines() if "," in line and "'" not in line)
    classes.pop("subject_name", None)
    lists = [
        [line.split("'")[1] for line in block.splitlines() if line.strip().startswith("'")]
        for block in text.split("prompt_list")[1:]
    ]
    assert [len(prompts) for prompts in lists] == [25, 25]
    for name, noun in classes.items():
        live = noun.strip() in {"cat", "dog"} and name != "backpack_dog"
        for template in lists[1 if live else 0]:
            yield template.replace("{0}", "(rare)").replace("{1}", noun.strip())
