"""The closed-form merge: the algebra on random numbers, and subjects on a tiny base."""

from dataclasses import replace

import pytest
import torch

from rarebooth import merging
from rarebooth.base import Session
from rarebooth.delta import Change, Delta, LowRank, Tail
from rarebooth.errors import SettingsError
from rarebooth.merging import captions, least_change, merge
from rarebooth.methods.custom_diffusion import CustomDiffusion
from rarebooth.run import Run
from toy_base import toy_subject

CAPTIONS = captions()
SD21_WIDTH = 1024


def dice(seed):
    return torch.Generator().manual_seed(seed)


def features(rows, width, seed):
    """Like a text encoder's: a large common part, small differences."""
    noise = torch.randn(rows, width, generator=dice(seed), dtype=torch.float64)
    return noise + 3 * torch.randn(width, generator=dice(99), dtype=torch.float64)


def matrices(base):
    return [f"denoiser.{name}" for name in base.cross_attention()]


def learnt(base, seed=0, word="<new1>", noun="dog", size=0.1):
    """A delta as custom-diffusion leaves it, of random numbers."""
    rng = dice(seed)
    changes = {}
    for name in matrices(base):
        original = base.part("denoiser").get_parameter(name.partition(".")[2])
        change = size * torch.randn(original.shape, generator=rng)
        changes[name] = Change.between(change, torch.zeros_like(change))
    vector = 0.5 * torch.randn(1, 32, generator=rng)
    return Delta((f"{word} {noun}",), {word: vector}, changes)


def made(base, delta, name, prompt, count):
    """What one matrix makes of the last ``count`` places of a prompt that are read, in float64."""
    with Session(base) as session, torch.no_grad():
        session.wear(Delta(delta.phrases, delta.tokens))
        encoded = session.condition([prompt])[0].double()
    words = len(prompt.split())
    change = delta.weights[name].expand().double()
    original = base.original("denoiser")(name.partition(".")[2]).double()
    return encoded[1 + words - (count - 1) : 2 + words] @ (original + change).T


def test_what_is_told_is_kept_and_the_rest_changes_as_little_as_it_can():
    regular, told = features(400, 48, 1), features(7, 48, 2)
    shift = torch.randn(20, 7, generator=dice(3), dtype=torch.float64)
    change = shift @ least_change(regular, told)
    assert (change @ told.T - shift).abs().max() < 1e-6
    # Stationary: the gradient of ||change R^T||^2 lies in the span of the constraints ...
    gradient = change @ regular.T @ regular
    left = gradient.T - told.T @ torch.linalg.lstsq(told.T, gradient.T).solution
    assert left.abs().max() < 1e-8 * gradient.abs().max()
    # ... so any other change that keeps what is told moves the captions more.
    other = torch.randn(20, 48, generator=dice(4), dtype=torch.float64)
    other -= other @ torch.linalg.pinv(told) @ told
    assert (other @ told.T).abs().max() < 1e-9
    assert ((change + 0.01 * other) @ regular.T).norm() > (change @ regular.T).norm()


def test_captions_that_leave_a_direction_open_are_no_obstacle():
    regular, told = features(400, 48, 1), features(7, 48, 2)
    regular[:, 5] = 0
    found = least_change(regular, told)
    assert (found @ told.T - torch.eye(7)).abs().max() < 1e-6
    few = least_change(regular[:10], told)
    assert (few @ told.T - torch.eye(7)).abs().max() < 1e-6


@pytest.mark.parametrize("rows", [[0, 1, 0], [*range(49)]])
def test_features_that_depend_on_one_another_are_refused(rows):
    told = features(60, 48, 2)[rows]
    with pytest.raises(SettingsError, match=f"are {len(rows)} features to keep.*48 numbers"):
        least_change(features(400, 48, 1), told)


def test_the_captions_fill_the_features_of_stable_diffusion_2():
    """Each beginning of a caption is another feature, whatever tokens a word is; so is each end."""
    assert len(set(CAPTIONS)) == len(CAPTIONS) == 15 * 25 + 27
    words = [caption.split() for caption in CAPTIONS]
    beginnings = {tuple(row[: place + 1]) for row in words for place in range(len(row))}
    assert len(beginnings) + len(CAPTIONS) > 1.5 * SD21_WIDTH


def test_only_the_places_from_the_first_word_to_the_end_are_read(tiny_base):
    base = tiny_base()
    rows = merging._encoded(base, ["a dog", "a photo of a cat"])
    with torch.no_grad():
        encoded = base.condition(["a dog", "a photo of a cat"], {})
    expected = torch.cat([encoded[0, 1:4], encoded[1, 1:7]]).double()
    assert torch.equal(rows, expected)


def test_a_subject_is_told_by_its_own_word_alone_from_there_to_the_end(tiny_base):
    base = tiny_base()
    (concept,) = merging._concepts([learnt(base, noun="red dog")])
    rows = merging._told(base, concept)
    with torch.no_grad():
        prompts = ["<new1> red dog", "photo of a <new1> red dog", "a photo of <new1> red dog"]
        encoded = base.condition(prompts, {"<new1>": concept.vector})
    assert torch.equal(rows, torch.cat([encoded[0, 1:5], *encoded[1:, 4:8]]).double())


def test_each_subjects_keys_and_values_are_kept(tiny_base):
    base = tiny_base()
    one, two = learnt(base, 1), learnt(base, 2, "<new2>", "red cat")
    merged = merge(base, [one, two], CAPTIONS)
    assert merged.phrases == ("<new1> dog", "<new2> red cat")
    assert list(merged.weights) == matrices(base)
    for own, phrase, count in ((one, "<new1> dog", 3), (two, "<new2> red cat", 4)):
        for prompt in (phrase, f"photo of a {phrase}", f"a photo of {phrase}"):
            for name in matrices(base):
                wanted = made(base, own, name, prompt, count)
                bare = made(
                    base, replace(own, weights=learnt(base, size=0).weights), name, prompt, count
                )
                found = made(base, merged, name, prompt, count)
                # As near as 16 bits of the change are; without the merge it is far away.
                assert (found - wanted).abs().max() < 0.01 * (bare - wanted).abs().max()


def test_in_float64_the_features_of_all_are_kept_to_a_millionth(tiny_base):
    base = tiny_base()
    concepts = merging._concepts([learnt(base, 1), learnt(base, 2, "<new2>", "cat")])
    told = [merging._told(base, concept) for concept in concepts]
    kept = least_change(merging._encoded(base, CAPTIONS), torch.cat(told))
    for name in matrices(base):
        original = base.original("denoiser")(name.partition(".")[2]).double()
        values = [
            rows @ (original + concept.changes[name].expand().double()).T
            for concept, rows in zip(concepts, told, strict=True)
        ]
        shift = torch.cat(values).T - original @ torch.cat(told).T
        found = original + shift @ kept
        for rows, value in zip(told, values, strict=True):
            assert (rows @ found.T - value).abs().max() < 1e-6


def test_subjects_that_changed_nothing_leave_the_base_as_it_is(tiny_base):
    base = tiny_base()
    still = [learnt(base, 1, size=0), learnt(base, 2, "<new2>", size=0)]
    merged = merge(base, still, CAPTIONS)
    assert all(not change.expand().any() for change in merged.weights.values())


def trained(base, noun, seed, initial_word):
    """A subject of three steps."""
    method = CustomDiffusion(
        prior=False, initial_word=initial_word, batch=2, steps=3, lr=1e-2, variants=2
    )
    with Session(base) as session:
        steps = method.fit(session, [toy_subject(base.size, noun=noun)], Run(seed))
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value


def test_trained_subjects_are_merged_and_merge_again(tiny_base):
    base = tiny_base()
    dog, cat = trained(base, "dog", 0, "sks"), trained(base, "cat", 1, "red")
    merged = merge(base, [dog, cat], CAPTIONS)
    assert merged.phrases == ("<new1> dog", "<new2> cat")
    assert torch.equal(merged.tokens["<new2>"], cat.tokens["<new1>"])
    called = ((dog, "<new1> dog", "<new1> dog"), (cat, "<new1> cat", "<new2> cat"))
    for name in matrices(base):
        for own, before, now in called:
            wanted = made(base, own, name, f"photo of a {before}", 3)
            found = made(base, merged, name, f"photo of a {now}", 3)
            assert (found - wanted).abs().max() < 5e-3 * wanted.abs().max()
    # What a merge gives is itself a subject of its kind; what it holds already changes little.
    again = merge(base, [merged, dog], CAPTIONS)
    assert again.phrases == ("<new1> dog", "<new2> cat", "<new3> dog")
    for name in matrices(base):
        change = merged.weights[name].expand()
        assert (again.weights[name].expand() - change).abs().max() < 0.02 * change.abs().max()


def test_subjects_whose_words_hardly_differ_are_refused(tiny_base):
    base = tiny_base()
    one, two = learnt(base, 1), learnt(base, 2, "<new2>")
    near = {"<new2>": one.tokens["<new1>"] + 0.03 * two.tokens["<new2>"]}
    with pytest.raises(SettingsError, match=r"nearly the same.*--initial-word"):
        merge(base, [one, replace(two, tokens=near)], CAPTIONS)


def test_the_same_subject_twice_is_the_same_as_once(tiny_base):
    base = tiny_base()
    delta = learnt(base, 1)
    once, twice = merge(base, [delta], CAPTIONS), merge(base, [delta, delta], CAPTIONS)
    assert twice.phrases == ("<new1> dog", "<new2> dog")
    for name in matrices(base):
        assert torch.equal(once.weights[name].expand(), twice.weights[name].expand())


def test_a_word_that_is_taken_is_replaced_and_no_other(tiny_base):
    base = tiny_base()
    words = ("<new1>", "<NEW1>", "<new2>", "(mine)", "(mine)")
    deltas = [learnt(base, n, word, "dog") for n, word in enumerate(words)]
    concepts = merging._concepts(deltas)
    assert [c.phrase for c in concepts] == [
        f"{word} dog" for word in ("<new1>", "<new3>", "<new2>", "(mine)", "<new4>")
    ]
    for concept, delta in zip(concepts, deltas, strict=True):
        assert torch.equal(concept.vector, *delta.tokens.values())


def test_subjects_too_alike_to_be_told_apart_are_refused(tiny_base):
    base = tiny_base()
    many = [learnt(base, n, f"<new{n}>") for n in range(12)]
    with pytest.raises(SettingsError, match=r"are 108 features to keep.*32 numbers each"):
        merge(base, many, CAPTIONS)


def without_last(weights):
    return dict(list(weights.items())[:-1])


@pytest.mark.parametrize(
    ("spoilt", "match"),
    [
        (lambda d: replace(d, steer=Tail("(that)", torch.ones(1, 32), 1.0)), "steers encoded"),
        (
            lambda d: replace(
                d, weights={**d.weights, "denoiser.conv_in.bias": Change(torch.ones(32), 1.0)}
            ),
            r"'<new1> dog' changes denoiser\.conv_in\.bias",
        ),
        (lambda d: replace(d, weights={}), r"does not change denoiser\.down"),
        (lambda d: replace(d, weights=without_last(d.weights)), r"does not change denoiser\.mid"),
        (
            lambda d: replace(
                d, weights=dict.fromkeys(d.weights, LowRank(torch.ones(32, 1), torch.ones(1, 32)))
            ),
            "another kind or shape",
        ),
        (
            lambda d: replace(d, weights=dict.fromkeys(d.weights, Change(torch.ones(3, 3), 1.0))),
            "another kind or shape",
        ),
        (lambda d: replace(d, tokens={}), "has the new words none"),
        (lambda d: replace(d, phrases=("dog",)), "has the new words <new1>"),
        (lambda d: replace(d, phrases=d.phrases * 2), "has the new words <new1>"),
    ],
)
def test_other_deltas_are_refused_and_what_they_are_is_said(tiny_base, spoilt, match):
    base = tiny_base()
    with pytest.raises(SettingsError, match=match) as raised:
        merge(base, [learnt(base, 2, "<new2>"), spoilt(learnt(base))], CAPTIONS)
    assert "custom-diffusion only" in str(raised.value)
