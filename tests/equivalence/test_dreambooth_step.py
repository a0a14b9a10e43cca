"""DreamBooth's update against that of diffusers' train_dreambooth.py, written out."""

from typing import Any

import pytest
import torch
from reference import Loop, Noise, Reference, class_pictures, rows

from rarebooth.base import Session, denoising_loss
from rarebooth.class_images import Cached, Drawing
from rarebooth.lesson import Lesson, Shelf
from rarebooth.methods.dreambooth import DreamBooth
from rarebooth.run import Run, generator_for
from toy_base import ToyBase, toy_subject

NETWORKS = {"denoiser": "unet", "text": "text"}


def small(**given):
    settings: dict[str, Any] = {"steps": 3, "lr": 1e-3, "weight_decay": 0.5, "class_images": 2}
    return DreamBooth(**settings, **given)


def ours(base, method):
    """Every step, and the weights after the last one, unrounded."""
    run = Run(5, class_images=Noise())
    with Session(base) as session:
        steps = list(method.fit(session, [toy_subject(base.size)], run))
        learnt = {
            f"{part}.{name}": weight.detach().clone()
            for part in method.trains
            for name, weight in base.part(part).named_parameters()
        }
    return steps, learnt


def script(folder, size, method, batches):
    """The script's loop over the batches that were drawn: subjects and class images alternate."""
    ref = Reference(folder)
    subject, pictures = toy_subject(size).images, class_pictures(size)
    loop = Loop(
        {
            f"{part}.{name}": weight
            for part in method.trains
            for name, weight in getattr(ref, NETWORKS[part]).named_parameters()
        },
        method.lr,
        method.weight_decay,
        method.clip,
    )

    def loss(batch):
        if not method.prior:
            return ref.loss(subject, batch, "a photo of sks dog")
        prompts = ("a photo of sks dog", "a photo of dog")
        return ref.loss_with_prior(subject, pictures, batch, prompts, method.prior_weight)

    for batch in batches:
        loop.step(*map(loss, batch.chunks(method.accumulate)))
    return loop


@pytest.mark.parametrize(
    "given",
    [
        {"prior": False, "batch": 2, "train_text": True},
        {"prior_weight": 1.0},
        {"prior_weight": 0.5, "batch": 2},
        {"prior_weight": 0.5, "accumulate": 2},
    ],
    ids=["no prior, both networks", "prior 1", "prior 0.5, batch 2", "prior 0.5, 2 pieces"],
)
def test_three_steps_end_where_the_script_ends(given, tiny_base, tiny_folder):
    base, method = tiny_base(), small(**given)
    steps, found = ours(base, method)
    expected = script(tiny_folder(), base.size, method, [step.batch for step in steps])
    assert min(expected.norms) > method.clip  # so that clipping is compared too
    assert [float(step.loss) for step in steps] == pytest.approx(expected.losses, rel=1e-5)
    expected.require_same_end(found)


def test_two_pieces_are_drawn_and_learnt_like_a_batch_twice_as_large():
    (large, one), (parts, other) = (
        ours(ToyBase(), small(**given)) for given in ({"batch": 2}, {"accumulate": 2})
    )
    for step, same in zip(large, parts, strict=True):
        assert torch.equal(step.batch.noise, same.batch.noise)
        assert float(step.loss) == pytest.approx(float(same.loss), rel=1e-6)
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_the_loss_is_each_samples_own_whatever_stands_beside_it(count):
    """Weights of 2B samples on B losses are an error, or, with B = 1, spread over all of them."""
    base = ToyBase()
    photos, pictures = (base.posterior(i) for i in (toy_subject().images, class_pictures(8)))
    lesson = Lesson.of(base, [Shelf.told_by(0, photos)], [Shelf.told_by(1, pictures)], 0.25)
    batch = lesson.draw(count)(generator_for(0, "batch"))
    assert (batch.photo >= 3).tolist() == [False, True] * count
    told = base.condition(["sks dog", "dog"], {})
    with torch.no_grad():
        losses = lesson.loss(batch, told)
        alone = [lesson.loss(rows(batch, slice(n, n + 1)), told) for n in range(2 * count)]
    assert losses.shape == (2 * count,)
    torch.testing.assert_close(losses, torch.cat(alone))
    with torch.no_grad():
        plain = denoising_loss(base, photos.and_then(pictures), batch, told.repeat(count, 1, 1))
    torch.testing.assert_close(losses.mean(), plain[::2].mean() + 0.25 * plain[1::2].mean())


def test_class_images_are_read_back_bit_for_bit(tmp_path):
    """The script keeps them as JPEG: what it learns from is not what was drawn."""
    base = ToyBase()
    source = Cached(folder=tmp_path, drawing=Drawing(steps=2))
    with Session(base) as session:
        drawn = source(session, "a photo of dog", 3)
        place = source.place(session, "a photo of dog")
        assert [path.read_bytes()[:4] for path in sorted(place.iterdir())] == [b"\x89PNG"] * 3
        assert (source(session, "a photo of dog", 3) == drawn).all()
    assert len({picture.tobytes() for picture in drawn}) == 3
