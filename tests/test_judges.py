"""The judges: their sentences, their training, their folders, and the exam they sit."""

import json
import os
import random
import signal
import zlib
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPModel, CLIPTokenizer, ViTModel

from rarebooth.metrics.encoders.clip import ClipEncoder
from rarebooth.metrics.encoders.dino import DinoEncoder
from rarebooth.pretrain.judges.clip import (
    WRONG,
    contrastive_loss,
    draw_rows,
    train_clip,
    write_sentences,
)
from rarebooth.pretrain.judges.data import GROUP, INSTANCES, draw_groups
from rarebooth.pretrain.judges.dino import balanced, entropies, train_dino
from rarebooth.pretrain.judges.exam import (
    CAPTIONS,
    NEAR,
    STRANGERS_FROM,
    CaptionTests,
    Triplets,
    caption_accuracy,
    draw_caption_tests,
    draw_triplets,
    triplet_accuracy,
)
from rarebooth.pretrain.judges.networks import (
    clip_sees,
    dino_sees,
    keep_patches,
    new_clip,
    new_dino,
)
from rarebooth.pretrain.judges.packing import pack_clip, pack_dino
from rarebooth.pretrain.judges.words import GROUPS, Words, options
from rarebooth.pretrain.networks import parameters
from rarebooth.pretrain.rendering import render_shards
from rarebooth.pretrain.tokenizer import POSITIONS, build_vocabulary
from rarebooth.pretrain.training import read_curve, read_progress
from rarebooth.world.captions import LONGEST, split, vocabulary
from rarebooth.world.render import Pictures
from rarebooth.world.scene import Scene
from tiny_parts import SIZE, tiny_clip, tiny_dino

SECONDS = 1 / 60


def code(scene) -> list[int]:
    """A number for each word group of a scene, and for its individual."""
    words = Words.of(scene)
    said = (getattr(words, group) for group in GROUPS)
    known = [
        0 if word is None else options(group).index(word) + 1
        for group, word in zip(GROUPS, said, strict=True)
    ]
    return [*known, scene.instance % 251, scene.shot % 251]


def fake_renderer(scenes, size=SIZE, device="cpu"):
    """Pictures whose first pixels say which scene they show."""
    images = torch.zeros(len(scenes), size, size, 3, dtype=torch.uint8)
    for image, scene in zip(images, scenes, strict=True):
        image[0, : len(code(scene)), 0] = torch.tensor(code(scene), dtype=torch.uint8)
        image[4:12, 4:12] = scene.instance % 251
    masks = torch.zeros(len(scenes), size, size, dtype=torch.bool)
    masks[:, 4:12, 4:12] = True
    return Pictures(images, masks)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judges") / "data"
    render_shards(
        folder,
        [0],
        seed=1,
        size=SIZE,
        renderer=fake_renderer,
        draw=draw_groups,
        shard_size=64,
    )
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    build_vocabulary(vocabulary()).save(folder)
    return folder


def caption_tests() -> CaptionTests:
    return draw_caption_tests(2, renderer=fake_renderer)


def triplets() -> Triplets:
    return draw_triplets(4, renderer=fake_renderer)


def clip_for(data, state, tokenizer, minutes=SECONDS, **settings):
    return train_clip(
        data,
        state,
        tokenizer,
        minutes=minutes,
        batch=16,
        network=tiny_clip,
        tests=caption_tests,
        **settings,
    )


def dino_for(data, state, minutes=SECONDS, **settings):
    return train_dino(
        data,
        state,
        minutes=minutes,
        batch=8,
        network=tiny_dino,
        triplets=triplets,
        **settings,
    )


# What the judges see


def test_a_group_is_two_individuals_of_a_class_that_share_their_first_scene():
    scenes = draw_groups(1, 0, 400)
    assert scenes == draw_groups(1, 0, 400) != draw_groups(1, 1, 400)
    for first in range(0, len(scenes), GROUP):
        here, there, other, elsewhere = scenes[first : first + GROUP]
        assert len({scene.toy for scene in (here, there, other, elsewhere)}) == 1
        assert here.instance == there.instance != other.instance == elsewhere.instance
        assert (here.place, here.shot) == (other.place, other.shot)
        assert here.place != there.place
        assert other.place != elsewhere.place
        assert here.quality == there.quality
        assert other.quality == elsewhere.quality
    assert all(scene.instance in INSTANCES for scene in scenes)
    assert any(scene.quality for scene in scenes)
    assert any(scene.outfit for scene in scenes)
    assert not any(scene.outfit and scene.quality for scene in scenes)


def test_what_the_judges_see_is_neither_trained_on_by_the_base_nor_examined():
    assert min(INSTANCES) >= 10_000
    assert max(INSTANCES) < 60_000 < STRANGERS_FROM


# Word groups


def test_words_say_all_of_a_scene_and_a_coloured_quality_is_a_colour():
    plain = Scene("vase", 12_345, "snow", 1)
    assert Words.of(replace(plain, quality="red")).colour == "red"
    assert Words.of(replace(plain, quality="red")).look is None
    shiny = Words.of(replace(plain, quality="shiny"))
    assert (shiny.look, shiny.colour) == ("shiny", Words.of(plain).colour)
    assert Words.of(replace(plain, place="studio")).place is None
    dressed = Words("dog", "blue", None, "snow", "red_hat")
    assert dressed.text() == "a photo of a blue dog wearing a red hat in the snow"
    assert Words("vase", "orange").text() == "a photo of an orange vase"


def test_sentences_fit_the_text_encoder(tokenizer):
    rng = random.Random(0)
    words = CLIPTokenizer.from_pretrained(tokenizer)
    for scene in draw_groups(3, 0, 200):
        text = Words.of(scene).text(rng)
        assert len(split(text)) <= LONGEST
        assert len(words(text).input_ids) <= POSITIONS


def test_wrong_sentences_differ_in_exactly_one_group_and_are_wrong():
    for scene in draw_groups(5, 0, 40):
        true = Words.of(scene)
        wrong = true.wrong_in_one()
        assert len(wrong) == len(set(wrong)) >= NEAR
        for words in wrong:
            assert sum(getattr(words, g) != getattr(true, g) for g in GROUPS) == 1
            assert not words.holds_for(true)


def test_what_is_not_said_cannot_be_wrong():
    scene = Words("dog", "blue", "wet", "snow", None)
    assert Words("dog").holds_for(scene)
    assert Words("dog", "blue", None, "snow").holds_for(scene)
    assert not Words("dog", outfit="chef").holds_for(scene)
    assert not Words("cat", "blue", "wet", "snow").holds_for(scene)


# The batches and losses of CLIP


def test_half_a_batch_is_whole_groups():
    rows = draw_rows(400, 32, random.Random(0))
    assert len(set(rows)) == 32
    whole = Counter(row // GROUP for row in rows[:16])
    assert set(whole.values()) == {GROUP}


def test_sentences_know_of_which_pictures_they_are_true():
    truths = [Words.of(scene) for scene in draw_groups(7, 0, 32)]
    sentences = write_sentences(truths, random.Random(1))
    assert len(sentences.texts) == len(truths) * (1 + WRONG)
    assert sentences.true.shape == (len(truths), len(sentences.texts))
    assert sentences.true[:, : len(truths)].diagonal().all()
    for row, words in enumerate(truths):
        for column, text in enumerate(sentences.texts):
            if sentences.true[row, column]:
                # A true sentence names the picture's own class, and none of the wrong ones are.
                assert words.toy in text
    own = torch.arange(len(truths)).repeat_interleave(WRONG)
    wrong = sentences.true[own, torch.arange(len(truths), len(sentences.texts))]
    # A change of an unsaid group may happen to say the truth; most changes do not.
    assert wrong.double().mean() < 0.1


def test_the_contrastive_loss_is_that_of_clip_where_only_the_own_sentence_is_true():
    torch.manual_seed(0)
    pictures, texts = torch.randn(2, 4, 8)
    own = torch.eye(4, dtype=torch.bool)
    scale = torch.tensor(1.5)
    logits = scale.exp() * pictures @ texts.T
    goal = torch.arange(4)
    cross = torch.nn.functional.cross_entropy
    expected = (cross(logits, goal) + cross(logits.T, goal)) / 2
    torch.testing.assert_close(contrastive_loss(pictures, texts, own, scale), expected)


def test_a_true_sentence_of_another_picture_is_no_negative():
    pictures = torch.eye(2)
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    true = torch.tensor([[True, True, False], [True, True, False]])
    scale = torch.tensor(0.0)
    # Row 0: own logit 1, the wrong one 0. Row 1: own logit 0, the wrong one 1. Back: nothing left.
    there = (torch.tensor([1.0, 0.0]).logsumexp(0) - 1 + torch.tensor([0.0, 1.0]).logsumexp(0)) / 2
    torch.testing.assert_close(contrastive_loss(pictures, texts, true, scale), there / 2)


# The answers of DINO


def test_the_teachers_answers_use_all_prototypes_alike():
    torch.manual_seed(0)
    # All pictures alike but for a little: without balancing, all would answer the same.
    likeness = torch.randn(1, 8) + 0.01 * torch.randn(64, 8)
    answers = balanced(likeness)
    torch.testing.assert_close(answers.sum(1), torch.ones(64))
    alone = (likeness / 0.01).softmax(1)
    assert entropies(alone)["mean_entropy"] < 0.1
    assert entropies(answers)["mean_entropy"] > 0.9


def test_entropies_tell_collapse_from_indecision():
    same = torch.eye(4)[[0, 0, 0, 0]]
    assert entropies(same) == {"mean_entropy": 0.0, "entropy": 0.0}
    assert entropies(torch.eye(4)) == {"mean_entropy": 1.0, "entropy": 0.0}
    assert entropies(torch.full((4, 4), 0.25)) == {"mean_entropy": 1.0, "entropy": 1.0}


# Networks


def test_the_networks_see_what_transformers_sees(tokenizer):
    torch.manual_seed(0)
    clip, dino = tiny_clip(build_vocabulary(["dog"])).eval(), tiny_dino().eval()
    pixels = torch.randn(3, 3, SIZE, SIZE)
    every = torch.arange(1 + (SIZE // 8) ** 2).expand(3, -1)
    for kept in (None, every):
        seen = clip.get_image_features(pixel_values=pixels).pooler_output
        torch.testing.assert_close(clip_sees(clip, pixels, kept), seen)
        token = dino(pixel_values=pixels).last_hidden_state[:, 0]
        torch.testing.assert_close(dino_sees(dino, pixels, kept), token)


def test_patches_are_kept_by_chance_or_toys_first():
    masks = torch.zeros(2, 64, 64)
    masks[:, 8:16, 16:24] = 1  # one patch: row 1, column 2
    first = keep_patches(masks, 0.25, 1.0, torch.Generator().manual_seed(0))
    assert first.shape == (2, 17)
    assert (first[:, 0] == 0).all()
    assert all(1 + 8 + 2 in row for row in first.tolist())
    counts = [
        1 + 8 + 2 in row
        for seed in range(100)
        for row in keep_patches(masks, 0.25, 0.0, torch.Generator().manual_seed(seed)).tolist()
    ]
    assert 0.1 < sum(counts) / len(counts) < 0.4


def test_both_judges_fit_into_eight_megabytes(tokenizer):
    weights = parameters(new_clip(build_vocabulary(vocabulary())), new_dino())
    assert 2 * weights < 7.8e6  # the rest is for the tokenizer


# Training, and what comes of it


def test_clip_is_trained_stopped_continued_and_packed(data, tokenizer, tmp_path):
    state = tmp_path / "state"
    first = clip_for(data, state, tokenizer)
    assert first.step > 1
    again = clip_for(data, state, tokenizer, minutes=2 * SECONDS)
    assert again.step > first.step
    assert "captions" in read_curve(state / "clip.safetensors")[-1]
    out = tmp_path / "clip"
    pack_clip(state, tokenizer, out, version="v", machine="m", network=tiny_clip)
    weights = load_file(out / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    made = json.loads((out / "recipe.json").read_text())
    assert made["steps"] == again.step
    assert made["pictures_rendered"] == 64
    assert made["measured"]
    loaded: Any = CLIPModel.from_pretrained(out)
    assert loaded.dtype == torch.float32
    encoder = ClipEncoder.open(out)
    pictures = torch.randint(0, 256, (3, SIZE, SIZE, 3), dtype=torch.uint8)
    average: Any = again.averages["clip"].half().float()
    expected = average.get_image_features(
        pixel_values=pictures.permute(0, 3, 1, 2) / 127.5 - 1
    ).pooler_output
    expected = torch.nn.functional.normalize(expected, dim=-1)
    torch.testing.assert_close(encoder.images(pictures), expected, atol=1e-4, rtol=0)
    assert 0 <= caption_accuracy(encoder, caption_tests()) <= 1


def test_dino_is_trained_stopped_continued_and_packed(data, tmp_path):
    state = tmp_path / "state"
    first = dino_for(data, state)
    again = dino_for(data, state, minutes=2 * SECONDS)
    assert again.step > first.step > 1
    line = read_curve(state / "dino.safetensors")[-1]
    assert line.keys() >= {"triplets", "entropy", "mean_entropy"}
    out = tmp_path / "dino"
    pack_dino(state, out, version="v", machine="m", network=tiny_dino)
    open_vit: Any = ViTModel.from_pretrained
    loaded, unused = open_vit(out, add_pooling_layer=False, output_loading_info=True)
    assert not unused["missing_keys"]
    assert not unused["unexpected_keys"]
    assert loaded.dtype == torch.float32
    encoder = DinoEncoder.open(out)
    pictures = torch.randint(0, 256, (3, SIZE, SIZE, 3), dtype=torch.uint8)
    average = again.averages["dino"].half().float()
    expected = dino_sees(average, pictures.permute(0, 3, 1, 2) / 127.5 - 1)
    expected = torch.nn.functional.normalize(expected, dim=-1)
    torch.testing.assert_close(encoder.images(pictures), expected, atol=1e-4, rtol=0)
    assert 0 <= triplet_accuracy(encoder, triplets()) <= 1


def test_a_training_that_is_asked_to_end_keeps_its_state(data, tmp_path):
    def ask_to_end() -> Triplets:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        return triplets()

    state = tmp_path / "state"
    training = train_dino(data, state, minutes=5.0, batch=8, network=tiny_dino, triplets=ask_to_end)
    assert training.seconds < 60
    assert read_progress(state / "dino.safetensors")["step"] == training.step > 0


# The exam


class Planted:
    """An encoder that reads one fact of the scene from the picture's first pixels."""

    def __init__(self, fact):
        self._fact = fact

    def images(self, pictures):
        known = pictures[:, 0, self._fact, 0].long()
        return torch.nn.functional.one_hot(known, 256).float()


INSTANCE, PLACE = len(GROUPS), GROUPS.index("place")


def test_triplets_are_strangers_in_each_others_scenes():
    drawn = draw_triplets(20, seed=1, renderer=fake_renderer)
    for anchor, positive, negative in drawn.scenes:
        assert anchor.toy == positive.toy == negative.toy
        assert anchor.instance == positive.instance != negative.instance
        assert min(anchor.instance, negative.instance) >= STRANGERS_FROM
        assert positive.place != anchor.place
        assert (negative.place, negative.shot) == (anchor.place, anchor.shot)
        assert anchor.quality is anchor.outfit is None
    assert drawn.anchor.shape == drawn.positive.shape == drawn.negative.shape == (20, 16, 16, 3)


def test_triplets_are_passed_by_who_sees_individuals_and_failed_by_who_sees_places():
    drawn = draw_triplets(40, renderer=fake_renderer)
    assert triplet_accuracy(Planted(INSTANCE), drawn) > 0.95
    assert triplet_accuracy(Planted(PLACE), drawn) == 0


def test_caption_tests_hold_one_right_caption_and_enough_near_ones():
    drawn = draw_caption_tests(10, seed=1, renderer=fake_renderer)
    for scene, captions in zip(drawn.scenes, drawn.captions, strict=True):
        assert scene.instance >= STRANGERS_FROM
        assert len(captions) == len(set(captions)) == CAPTIONS
        true = Words.of(scene)
        assert captions[0] == true.text()
        near = {words.text() for words in true.wrong_in_one()}
        assert len(near.intersection(captions)) >= NEAR


def test_captions_are_passed_by_who_sees_everything_and_failed_by_the_blind():
    class Perfect:
        """Says the right sentence of each scene, and puts equal sentences together."""

        def __init__(self, drawn):
            self._right = [captions[0] for captions in drawn.captions]

        def images(self, pictures):
            return self.texts(self._right)

        def texts(self, texts):
            generator = torch.Generator()
            rows = [
                torch.randn(64, generator=generator.manual_seed(zlib.crc32(text.encode())))
                for text in texts
            ]
            return torch.nn.functional.normalize(torch.stack(rows), dim=-1)

    class Blind(Perfect):
        def images(self, pictures):
            return super().texts(["nothing"] * len(pictures))

    class Undecided(Perfect):
        def texts(self, texts):
            return torch.ones(len(texts), 4) / 2

    drawn = draw_caption_tests(20, renderer=fake_renderer)
    assert caption_accuracy(Perfect(drawn), drawn) == 1
    assert caption_accuracy(Blind(drawn), drawn) < 0.3
    assert caption_accuracy(Undecided(drawn), drawn) == 0
