"""Borrowing a base: what a session adds, tunes and wears, and that nothing of it stays."""

import pytest
import torch

from rarebooth.base import Batch, Session, denoising_loss
from rarebooth.delta import Blend, Change, Delta, LowRank, Tail
from rarebooth.errors import ArtifactError, SettingsError
from toy_base import WIDTH, ToyBase, toy_subject

NAME = "denoiser.listen.weight"


def weights(base, part="denoiser"):
    return {name: tensor.detach().clone() for name, tensor in base.part(part).named_parameters()}


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def delta_of(change, name=NAME, tokens=None):
    made = Change.between(change, torch.zeros_like(change))
    return Delta(("(rare) dog",), tokens or {}, {name: made})


def test_a_worn_change_is_the_original_plus_the_rounded_change():
    base = ToyBase()
    before = weights(base)
    delta = delta_of(torch.randn(6, WIDTH) * 1e-3)
    with Session(base) as session:
        session.wear(delta)
        expected = base.original("denoiser")("listen.weight") + delta.weights[NAME].expand()
        assert torch.equal(base.part("denoiser").get_parameter("listen.weight"), expected)
        others = {name: tensor for name, tensor in before.items() if name != "listen.weight"}
        assert equal(others, weights(base))
    assert equal(before, weights(base))


def test_what_is_worn_takes_the_place_of_what_was_worn_or_tuned():
    base = ToyBase()
    first, second = delta_of(torch.ones(6, WIDTH)), delta_of(torch.ones(6), "denoiser.look.bias")
    with Session(base) as session:
        session.wear(second)
        alone = weights(base)
    with Session(base) as session:
        for parameter in session.tune("text").values():
            parameter.data.add_(1)
        session.token("(odd)", "rare")
        session.wear(first)
        session.wear(second)
        assert equal(alone, weights(base))
        assert equal(weights(base, "text"), weights(ToyBase(), "text"))
        assert session.tokens == {}
        assert not any(p.requires_grad for p in base.part("text").parameters())


def test_tokens_are_worn_and_taken_off():
    base = ToyBase()
    vector = torch.randn(1, WIDTH)
    plain = base.condition(["a (rare) dog"], {})
    with Session(base) as session:
        assert torch.equal(session.condition(["a (rare) dog"]), plain)
        session.wear(Delta(("(rare) dog",), {"(rare)": vector}, {}))
        worn = session.condition(["a (rare) dog"])
        assert torch.equal(worn, base.condition(["a (rare) dog"], {"(rare)": vector}))
        assert not torch.equal(worn, plain)
    assert session.tokens == {}


def test_wearing_what_was_tuned_gives_the_same_weights_but_for_the_rounding():
    base = ToyBase()
    with Session(base) as session:
        tuned = session.tune("denoiser")
        assert tuned.keys() == {f"denoiser.{name}" for name in weights(base)}
        assert all(parameter.requires_grad for parameter in tuned.values())
        for parameter in tuned.values():
            parameter.data += torch.randn_like(parameter) * 0.01
        live = weights(base)
        delta = Delta(("x",), {}, session.change(tuned))
        assert delta.weights.keys() == tuned.keys()
        assert equal(live, weights(base)), "forming the change changes nothing"
        session.wear(delta)
        worn = weights(base)
    for name, tensor in live.items():
        scale = float(delta.weights[f"denoiser.{name}"].expand().abs().max())
        assert float((worn[name] - tensor).abs().max()) <= scale * 2.0**-11


def test_a_new_word_starts_as_another_and_is_a_leaf():
    base = ToyBase()
    with Session(base) as session:
        vector = session.token("(rare)", "rare")
        assert torch.equal(vector, base.word("rare"))
        assert vector.is_leaf
        assert vector.requires_grad
        session.condition(["a (rare) dog"]).sum().backward()
        assert vector.grad is not None
        assert vector.grad.abs().sum() > 0
        with pytest.raises(SettingsError):
            session.token("two words", "rare")


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("denoiser.absent.weight", (6, WIDTH), "does not have"),
        ("wings.weight", (6, WIDTH), "does not have"),
        ("denoiser.listen", (6, WIDTH), "does not have"),
        (NAME, (6, WIDTH + 1), rf"shape \(6, {WIDTH + 1}\).*has \(6, {WIDTH}\)"),
        (NAME, (1, WIDTH), "shape"),
    ],
)
def test_a_subject_of_another_base_is_refused_and_leaves_no_trace(name, shape, message):
    base = ToyBase()
    before = weights(base)
    delta = delta_of(torch.ones(shape), name)
    good = delta_of(torch.ones(6), "denoiser.look.bias").weights
    both = Delta(delta.phrases, {}, {**good, **delta.weights})
    with pytest.raises(ArtifactError, match=message) as caught, Session(base) as session:
        session.wear(both)
    assert "'toy'" in str(caught.value)
    assert equal(before, weights(base))


@pytest.mark.parametrize(
    ("token", "steer"),
    [
        (torch.ones(1, WIDTH + 1), None),
        (torch.ones(1, 1), None),
        (torch.ones(0, WIDTH), None),
        (None, Tail("zz", torch.ones(1, WIDTH - 1), 1.0)),
        (None, Tail("zz", torch.ones(0, WIDTH), 1.0)),
        (None, Tail("zz", torch.ones(2, WIDTH), 1.0)),
        (None, Blend("zz", torch.ones(2, WIDTH), 1.0)),
    ],
)
def test_words_and_steering_of_another_width_are_refused(token, steer):
    tokens = {} if token is None else {"(rare)": token}
    with Session(ToyBase()) as session:
        with pytest.raises(ArtifactError, match=rf"has shape .* 1 vectors of {WIDTH} numbers"):
            session.wear(Delta(("(rare) dog",), tokens, {}, steer))
        assert session.tokens == {}


def test_a_change_that_is_not_finite_is_refused_and_leaves_no_trace():
    base = ToyBase()
    before = weights(base)
    low = LowRank(torch.full((6, 1), 1e30), torch.full((1, WIDTH), 1e30))
    with Session(base) as session, pytest.raises(ArtifactError, match=f"{NAME} would hold a numb"):
        session.wear(Delta(("x",), {}, {NAME: low}))
    assert equal(before, weights(base))


def test_an_unknown_part_is_refused_and_the_others_are_given_back():
    base = ToyBase()
    before = weights(base)
    with Session(base) as session:
        session.tune("denoiser")["denoiser.look.bias"].data.add_(1)
        with pytest.raises(SettingsError, match="'wings'"):
            session.tune("wings")
    assert equal(before, weights(base))


def test_the_loss_is_one_number_a_sample_of_the_right_goal():
    base = ToyBase("v_prediction")
    photos = base.posterior(toy_subject().images)
    generator = torch.Generator().manual_seed(0)
    batch = Batch(
        torch.tensor([2, 0]),
        torch.tensor([10, 900]),
        torch.randn(2, 3, 4, 4, generator=generator),
        torch.randn(2, 3, 4, 4, generator=generator),
        torch.zeros(2, dtype=torch.int64),
    )
    condition = base.condition(["a dog"], {})
    found = denoising_loss(base, photos, batch, condition)
    assert found.shape == (2,)
    for index in range(2):
        place, moment = batch.photo[index], batch.timestep[index]
        clean = photos.mean[place] + photos.deviation[place] * batch.encoding[index]
        alpha = base.process.alphas_cumprod[moment]
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * batch.noise[index]
        goal = alpha.sqrt() * batch.noise[index] - (1 - alpha).sqrt() * clean
        answer = base.denoise(noisy[None], moment[None], condition)[0]
        assert float(found[index]) == pytest.approx(float((answer - goal).square().mean()))
    rows = condition.expand(2, -1, -1)
    assert torch.equal(found, denoising_loss(base, photos, batch, rows))
