"""What every method owes its users, for every method in the table: a new one is tested by its line.

Methods run on a tiny random Stable Diffusion with a few steps; ``small`` finds such settings by
their names, and ``OTHER`` says what a setting of words can be changed to.
"""

import re
from dataclasses import fields, replace
from functools import cache
from itertools import pairwise

import pytest
import torch

from rarebooth import artifact, sample, store
from rarebooth.artifact import Header
from rarebooth.base import Session, denoising_loss
from rarebooth.class_images import Drawing, Drawn
from rarebooth.delta import Change, Delta
from rarebooth.errors import DivergedError, SettingsError
from rarebooth.method import Method
from rarebooth.methods import TABLE, find
from rarebooth.run import Run, draw_batch, generator_for
from rarebooth.settings import method_settings
from toy_base import toy_subject

PARTS = ("denoiser", "text")
NAMES = {"denoiser": "unet", "text": "text_encoder"}
OTHER = {
    "token": "(odd1)",
    "initial_word": "red",
    "prompt": "a toy of {}",
    "class_prompt": "a toy of {}",
    "identifier": "red",
    "mark": "(that)",
    "form": "noun",
    "templates": "style",
    "constraint": "l2",
}
SETTINGS = [(name, item.name) for name in TABLE for item in fields(find(name))]
NUMBERS = [
    (name, item.name)
    for name in TABLE
    for item in fields(find(name))
    if isinstance(item.default, int | float) and not isinstance(item.default, bool)
]

every_method = pytest.mark.parametrize("name", TABLE)
every_stage = pytest.mark.parametrize(
    ("name", "stage"), [(name, stage) for name in TABLE for stage in find(name).stages]
)


def small(name, **given):
    """A method with three steps a stage, at learning rates that leave a mark."""
    kind = find(name)
    chosen = {}
    for item in fields(kind):
        if item.name.endswith("steps"):
            chosen[item.name] = 3
        elif item.name.endswith("lr"):
            chosen[item.name] = 1e-2 if item.name.startswith(("token", "embedding")) else 1e-3
        elif item.name.endswith(("batch", "class_images", "variants")):
            chosen[item.name] = 2
        elif item.name == "initial_word" and item.default == "ktn":
            chosen[item.name] = "sks"
        elif item.name == "constraint_weight":
            chosen[item.name] = 1e-2
    return kind(**{**chosen, **given})


def changed(method, field):
    """The same method with one setting changed to something that must matter."""
    value = getattr(method, field)
    if field in OTHER:
        other = OTHER[field]
    elif isinstance(value, bool):
        other = not value
    elif isinstance(value, int):
        other = value + 1
    elif isinstance(value, float):
        other = value * 0.01 if value else 0.1
    else:
        pytest.fail(f"{method.name}.{field} is {value!r}: add another value for it to OTHER")
    return replace(method, **{field: other})


def run_of(seed=0, resume=None):
    """A run whose class images are drawn in a few steps."""
    return Run(seed, resume, Drawn(drawing=Drawing(steps=2)))


def subject_for(base, noun="dog"):
    return toy_subject(base.size, count=3, noun=noun)


def fit(method, base, *, seed=0, resume=None, watch=lambda step: None):
    """Fit to the end and return what was learnt; ``watch`` sees every step."""
    with Session(base) as session:
        steps = method.fit(session, [subject_for(base)], run_of(seed, resume))
        while True:
            try:
                watch(next(steps))
            except StopIteration as end:
                return end.value


def flat(delta):
    """A delta as one dictionary of tensors."""
    tensors = {f"token/{token}": vector for token, vector in delta.tokens.items()}
    for name, change in delta.weights.items():
        for item in fields(change):
            value = getattr(change, item.name)
            if value is not None:
                tensors[f"{item.name}/{name}"] = torch.as_tensor(value)
    for item in fields(delta.steer) if delta.steer else ():
        value = getattr(delta.steer, item.name)
        if item.name != "word":
            tensors[f"steer/{item.name}"] = torch.as_tensor(value)
    return tensors


def same_tensors(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def kept(state):
    """A state's tensors by where they belong, copied: a state is lent for one step only."""
    groups = {"weights": state.weights, **state.optimiser, **state.finished}
    return {
        f"{group}/{name}": tensor.clone()
        for group, tensors in groups.items()
        for name, tensor in tensors.items()
    }


def same(one, other):
    return one.phrases == other.phrases and same_tensors(flat(one), flat(other))


def content(base):
    """All tensors of the base, buffers and autoencoder with them."""
    parts = base._parts
    modules = {"unet": parts.unet, "vae": parts.vae(), "text_encoder": parts.text_encoder()}
    return {
        f"{name}.{key}": tensor.clone()
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }


def without_adapters(tensors):
    """The base's own tensors, where adapters stand around some."""
    return {
        key.replace(".base_layer", ""): tensor
        for key, tensor in tensors.items()
        if ".lora_" not in key
    }


def require_untouched(base, before):
    """The base is what it was: its numbers, its words, and nothing left to train in it."""
    assert same_tensors(content(base), before)
    for module in (base._parts.unet, base._parts.vae(), base._parts.text_encoder()):
        assert not any(parameter.requires_grad for parameter in module.parameters())
        assert all(parameter.grad is None for parameter in module.parameters())
        for inner in module.modules():
            assert not inner._forward_hooks
            assert not inner._forward_pre_hooks
            assert "forward" not in vars(inner)
    assert len(base._parts.tokenizer) == base._parts.text_encoder().config.vocab_size


@every_method
def test_what_a_method_declares(name):
    method = find(name)()
    assert isinstance(method, Method)
    assert method.name == name
    assert method.paper
    assert method.summary
    assert method.stages
    assert method.trains <= method.changes <= {"token", "steer", *PARTS}
    method.check()


@pytest.mark.parametrize(("name", "field"), SETTINGS)
def test_every_setting_says_what_it_means_and_where_its_value_is_from(name, field):
    item = next(item for item in fields(find(name)) if item.name == field)
    assert item.metadata["meaning"].endswith(".")
    assert item.metadata["source"]


@pytest.mark.parametrize(("name", "field"), NUMBERS)
def test_settings_out_of_range_are_refused_by_name(name, field):
    method = find(name)()
    item = next(item for item in fields(method) if item.name == field)
    least, above = item.metadata["least"], item.metadata["above"]
    assert (least is None) != (above is None), "a number needs one lower end"
    bad = least - 1 if least is not None else above
    not_a_number = [float("nan"), float("inf")] if isinstance(item.default, float) else []
    for value in (bad, *not_a_number):
        with pytest.raises(SettingsError, match=rf"^{field} is {value}; it must be"):
            replace(method, **{field: value}).check()


@every_method
def test_the_base_is_given_back_as_it_was(name, tiny_base):
    base = tiny_base()
    before = content(base)
    delta = fit(small(name), base)
    assert flat(delta)
    require_untouched(base, before)


class Stop(Exception):
    """A reader of the steps fails."""


@every_stage
@pytest.mark.parametrize("how", ["closed", "reader fails", "diverged", "abandoned"])
def test_the_base_is_given_back_after_an_abort(name, stage, how, tiny_base, monkeypatch):
    base = tiny_base()
    before, whole = content(base), base.denoise
    reached = []
    subject, method = subject_for(base), small(name)
    shown = method.shown([subject])

    def run():
        with Session(base) as session:
            steps = method.fit(session, [subject], replace(run_of(), shown=shown))
            for step in steps:
                if step.stage != stage or step.done < 2:
                    continue
                reached.append(step.stage)
                if how == "closed":
                    steps.close()
                    return
                if how == "reader fails":
                    raise Stop
                if how == "abandoned":
                    return
                monkeypatch.setattr(base, "denoise", lambda *given: whole(*given) * torch.nan)

    if how == "reader fails":
        with pytest.raises(Stop):
            run()
    elif how == "diverged":
        with pytest.raises(DivergedError, match=f"step 3 of stage {stage!r}") as caught:
            run()
        told = str(caught.value)
        assert {*re.findall(r"photo '(.+?)' at", told)} <= {each.name for each in subject.photos}
        assert {*re.findall(r"class image (\d+) at", told)} <= {"1", "2"}  # as many as small has
        assert " at timestep " in told
    else:
        run()
    monkeypatch.undo()
    assert reached == [stage]
    require_untouched(base, before)


@every_method
def test_what_is_declared_changes_and_nothing_else(name, tiny_base):
    base = tiny_base()
    method = small(name)
    before = content(base)
    with Session(base) as session:
        steps = method.fit(session, [subject_for(base)], run_of())
        seen = list(steps)
        after = without_adapters(content(base))
        delta = seen[-1].snapshot()
        trained = {key.partition(".")[0] for key in delta.weights}
        assert trained == method.trains - {"token", "steer"}
        assert bool(delta.tokens) == ("token" in method.trains)
        assert bool(delta.steer) == ("steer" in method.trains)
        moved = {key.partition(".")[0] for key in after if not torch.equal(after[key], before[key])}
        weights = {name for name, change in delta.weights.items() if isinstance(change, Change)}
        assert moved == {NAMES[weight.partition(".")[0]] for weight in weights}
    assert [step.stage for step in seen] == [stage for stage in method.stages for _ in range(3)]
    for token, vector in delta.tokens.items():
        assert vector.shape == (1, base.word("rare").shape[1])
        assert vector.dtype == torch.float32
        assert token in delta.phrases[0]
        assert delta.phrases[0] == token or delta.phrases[0].endswith(" dog")
    assert any(bool(change.expand().any()) for change in delta.weights.values()) or not trained


@pytest.fixture(scope="module")
def plainly_fitted(tiny_base):
    """What a method learns, fitted once for all of its settings."""
    return cache(lambda method: fit(method, tiny_base()))


@pytest.mark.parametrize(("name", "field"), SETTINGS)
def test_every_setting_matters(name, field, tiny_base, plainly_fitted):
    where = next(item.metadata["where"] for item in fields(find(name)) if item.name == field)
    method = small(name, **where)
    other = fit(changed(method, field), tiny_base())
    assert not same(plainly_fitted(method), other)


@every_method
def test_the_photos_matter(name, tiny_base):
    base = tiny_base()
    one = fit(small(name), base)
    with Session(base) as session:
        others = replace(subject_for(base), photos=subject_for(base).photos[1:])
        other = list(small(name).fit(session, [others], run_of()))[-1].snapshot()
    assert not same(one, other)


@every_method
def test_the_same_seed_learns_the_same_and_another_does_not(name, tiny_base):
    base = tiny_base()
    one = fit(small(name), base, seed=4)
    torch.manual_seed(1234)  # the global generator must not matter
    assert same(one, fit(small(name), base, seed=4))
    assert not same(one, fit(small(name), base, seed=5))


STOPS = [(name, stage, done) for name in TABLE for stage in find(name).stages for done in (1, 3)]


@pytest.mark.parametrize(("name", "stage", "done"), STOPS)
def test_a_run_continues_bit_for_bit_from_disk(name, stage, done, tiny_base, tmp_path):
    base = tiny_base()
    states = []

    def watch(step):
        if (step.stage, step.done) == (stage, done):
            store.save_state(tmp_path, step.state())
        states.append(kept(step.state()))

    straight = fit(small(name), base, seed=2, watch=watch)
    reached = len(states)
    loaded, damaged = store.load_state(tmp_path)
    assert damaged == []
    assert loaded is not None
    assert (loaded.stage, loaded.done) == (stage, done)
    resumed = fit(small(name), base, seed=2, resume=loaded, watch=watch)
    assert same(straight, resumed)
    method = find(name)
    taken = len(states) - reached
    assert taken == 3 * (len(method.stages) - method.stages.index(stage)) - done
    if taken:
        assert same_tensors(states[-1], states[reached - 1])


@every_method
def test_a_snapshot_stays_as_it_was_when_training_goes_on(name, tiny_base):
    snapshots = []

    def watch(step):
        delta = step.snapshot()
        kept = Delta(delta.phrases, {**delta.tokens}, {**delta.weights}, delta.steer)
        snapshots.append((delta, {key: value.clone() for key, value in flat(kept).items()}))

    fit(small(name), tiny_base(), watch=watch)
    assert all(same_tensors(flat(delta), kept) for delta, kept in snapshots)
    assert not any(same(one, other) for (one, _), (other, _) in pairwise(snapshots))


@every_method
def test_the_result_is_the_last_snapshot(name, tiny_base):
    last = []
    result = fit(small(name), tiny_base(), watch=lambda step: last.append(step.snapshot()))
    assert same(result, last[-1])


@every_method
def test_a_picture_before_saving_is_the_picture_after_loading(name, tiny_base, tmp_path):
    base, method = tiny_base(), small(name)
    delta = fit(method, base)
    header = Header(
        base.identity, name, method_settings(method), 0, ("dog",), "a photo of {}", base.size, "3"
    )
    artifact.save(tmp_path / "subject.safetensors", delta, header)
    loaded = artifact.load(tmp_path / "subject.safetensors")
    assert same(loaded.delta, delta)
    prompts = [f"a photo of {delta.phrases[0]} on the beach", "a photo of cat"]

    def pictures(worn):
        with Session(base) as session:
            if worn is not None:
                session.wear(worn)
            plain = [prompts[1]] * 2 if worn is None else prompts
            return sample.draw(session, plain, [1, 2], steps=4)

    before, after, untouched = pictures(delta), pictures(loaded.delta), pictures(None)
    assert (before == after).all()
    if delta.weights:
        assert (before[1] != untouched[1]).any()


def probe_loss(base, delta, prompt="a photo of {}"):
    """The mean loss of a worn subject on 100 draws that are always the same."""
    with Session(base) as session, torch.no_grad():
        session.wear(delta)
        photos = base.posterior(subject_for(base).images)
        batch = draw_batch(base, 3, 100)(generator_for(77, "probe"))
        condition = session.condition([prompt.replace("{}", delta.phrases[0])])
        return float(denoising_loss(base, photos, batch, condition).mean())


@every_stage
@pytest.mark.slow
def test_every_stage_learns_the_subject(name, stage, tiny_base):
    """The same 100 photos, timesteps and noises before and after: no luck is involved."""
    base = tiny_base()
    kind = find(name)
    lasting = {item.name: 20 for item in fields(kind) if item.name.endswith("steps")}
    words_only = not kind.changes & set(PARTS)
    rates = {
        item.name: 0.3
        for item in fields(kind)
        if item.name in {"token_lr", "embedding_lr"} or (item.name == "lr" and words_only)
    }
    ends = []

    def watch(step):
        if step.stage == stage and step.done in {1, step.total}:
            ends.append(step.snapshot())

    fit(small(name, **lasting, **rates), base, watch=watch)
    first, last = (probe_loss(base, delta) for delta in ends)
    assert last < first - 1e-4


@every_method
def test_no_subject_is_refused_and_two_where_the_method_is_for_one(name, tiny_base):
    base, method = tiny_base(), small(name)
    two = [subject_for(base), subject_for(base, noun="cat")]
    for subjects in [[]] if method.several else [[], two]:
        with Session(base) as session, pytest.raises(SettingsError, match="one"):
            next(method.fit(session, subjects, run_of()))
    if method.several:
        with Session(base) as session:
            delta = list(small(name, token="(odd1)").fit(session, two, run_of()))[-1].snapshot()
        assert delta.phrases == ("(odd1) dog", "(odd2) cat")


@every_method
def test_learning_says_nothing_and_writes_nothing(name, tiny_base, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(small(name), tiny_base())
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
