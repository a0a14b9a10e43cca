"""Custom Diffusion against its code: keys and values alone, the start token held, masked losses."""

import pytest
import torch
from reference import Loop, Noise, Reference, class_pictures

from rarebooth import augmentation
from rarebooth.augmentation import Variant
from rarebooth.base import Session
from rarebooth.lesson import Lesson, Shelf
from rarebooth.methods.custom_diffusion import CustomDiffusion
from rarebooth.run import Run, generator_for
from toy_base import ToyBase, toy_subject

SMALL = CustomDiffusion(
    initial_word="sks", batch=2, steps=3, lr=1e-3, weight_decay=0.5, class_images=2, augment=False
)


def learn(method, base, nouns=("dog",)):
    """All steps, the words and matrices after the last unrounded, and what was learnt."""
    subjects = [toy_subject(base.size, noun=noun) for noun in nouns]
    with Session(base) as session:
        steps = list(method.fit(session, subjects, Run(8, class_images=Noise())))
        network = base.part("denoiser")
        weights = {n: network.get_parameter(n).detach().clone() for n in base.cross_attention()}
        words = {word: vector.detach().clone() for word, vector in session.tokens.items()}
        return steps, words | weights, steps[-1].snapshot()


def test_three_steps_are_the_codes_with_the_start_token_left_out_by_hand(tiny_base, tiny_folder):
    """The matrices' gradients are summed here from what leaves them at the other tokens."""
    base, ref = tiny_base(), Reference(tiny_folder())
    steps, found, _ = learn(SMALL, base)
    [row] = ref.add_words(["<new1>"], like="sks")
    word = ref.table[row : row + 1].clone()
    matrices = {name: ref.unet.get_parameter(name) for name in base.cross_attention()}
    heard = {}

    def keep(name):
        def hook(_, given, out):
            out.retain_grad()
            heard[name] = (given[0], out)

        return hook

    for name in matrices:
        ref.unet.get_submodule(name.removesuffix(".weight")).register_forward_hook(keep(name))
    ref.text.get_input_embeddings().register_forward_hook(
        lambda _, ids, out: torch.where((ids[0] == row)[..., None], word, out)
    )
    loop = Loop({"<new1>": word, **matrices}, SMALL.lr, SMALL.weight_decay, SMALL.clip)
    shares = []

    def leave_out() -> None:
        for name, matrix in matrices.items():
            given, out = heard[name]
            by_hand = torch.einsum("blo,bli->oi", out.grad[:, 1:], given[:, 1:])
            shares.append(float((matrix.grad - by_hand.detach()).norm() / matrix.grad.norm()))
            matrix.grad = by_hand.detach()

    subject, pictures = toy_subject(base.size).images, class_pictures(base.size)
    prompts = ("photo of a <new1> dog", "photo of a dog")
    for step in steps:
        loss = ref.loss_with_prior(subject, pictures, step.batch, prompts, 1.0)
        loop.step(loss, correct=leave_out)
    assert min(shares) > 0.01  # the start token would have had a say
    assert [float(step.loss) for step in steps] == pytest.approx(loop.losses, rel=1e-5)
    loop.require_same_end(found)


def test_only_keys_values_and_words_are_learnt(tiny_base):
    base = tiny_base()
    start = base.word("sks")
    _, words, learnt = learn(SMALL, base)
    crossing = [
        name
        for name, _ in base.part("denoiser").named_parameters()
        if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))
    ]
    assert learnt.weights.keys() == {f"denoiser.{name}" for name in crossing}
    assert all(bool(change.expand().any()) for change in learnt.weights.values())
    assert learnt.tokens.keys() == {"<new1>"}
    assert not torch.equal(words["<new1>"], start)
    with Session(base) as session:
        matrices = session.tune("denoiser", base.cross_attention())
        assert SMALL.trained(base) == sum(weight.numel() for weight in matrices.values())


def test_two_subjects_move_two_words_apart(tiny_base):
    base = tiny_base()
    start = base.word("sks")
    steps, words, learnt = learn(SMALL, base, ("dog", "cat"))
    assert learnt.phrases == ("<new1> dog", "<new2> cat")
    first, second = words["<new1>"], words["<new2>"]
    assert min(float((vector - start).abs().max()) for vector in (first, second)) > 1e-3
    assert not torch.equal(first, second)
    shown = torch.cat([step.batch.photo[::2] for step in steps])
    assert bool((shown < 3).any())
    assert bool(((shown >= 3) & (shown < 6)).any())  # photos of both, before the class images


def test_what_is_outside_a_mask_does_not_count(monkeypatch):
    base = ToyBase()
    masks = torch.ones(5, 1, 4, 4)
    masks[0, :, :, 2:] = 0
    masks[1] = 0
    masks[1, :, 1, 2] = 1
    photos, pictures = (base.posterior(i) for i in (toy_subject().images, class_pictures(8)))
    shelf = Shelf(photos, [0, 0, 0], masks[:3, 0])
    lesson = Lesson.of(base, [shelf], [Shelf.told_by(1, pictures)], 0.5)
    batch = lesson.draw(6)(generator_for(0, "batch"))
    told, mask, whole = base.condition(["a dog", "dog"], {}), masks[batch.photo], base.denoise
    with torch.no_grad():
        found = lesson.loss(batch, told)
        answers = []
        monkeypatch.setattr(
            base, "denoise", lambda *given: answers.append(whole(*given)) or answers[-1]
        )
        lesson.loss(batch, told)
        error = (answers[0] - batch.noise).square()
        for n, number in enumerate(batch.photo.tolist()):
            place = mask[n, 0] == 1
            weight = 2 * (0.5 if number >= 3 else 1)
            # the mean over what counts; diffusers' script counts each channel of a photo once more
            assert float(found[n]) == pytest.approx(weight * float(error[n][:, place].mean()))
        monkeypatch.setattr(base, "denoise", lambda *given: whole(*given) + 9 * (1 - mask))
        assert torch.equal(lesson.loss(batch, told), found)
        monkeypatch.setattr(base, "denoise", lambda *given: whole(*given) + 9 * mask)
        assert not (lesson.loss(batch, told) == found).any()


def test_learning_goes_by_the_masks_of_the_variants(tiny_base, monkeypatch):
    base = tiny_base()
    mask = torch.zeros(8, 8)
    mask[2:6, 1:4] = 1
    made = []

    def half(photo, side, rng):
        made.append(side)
        return Variant(photo, "very small ", mask)

    monkeypatch.setattr(augmentation, "augmented", half)
    method = CustomDiffusion(initial_word="sks", batch=2, steps=2, lr=1e-3, prior=False, variants=2)
    whole = base.denoise

    def after(noise_on):
        monkeypatch.setattr(base, "denoise", lambda *given: whole(*given) + noise_on)
        return learn(method, base)[1]

    plain, outside, inside = after(0), after(7 * (1 - mask)), after(7 * mask)
    assert made == [8] * 18
    assert all(torch.equal(outside[name], plain[name]) for name in plain)
    assert not torch.equal(inside["<new1>"], plain["<new1>"])
