"""The subject file: read as written, the same bytes every time, and damage refused by name."""

import hashlib
import json
import struct
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from rarebooth import artifact
from rarebooth.artifact import Header
from rarebooth.base import Identity
from rarebooth.delta import Blend, Change, Delta, LowRank, Tail
from rarebooth.errors import ArtifactError, DivergedError

HEADER = Header(
    base=Identity("sd21", "stable-diffusion", "a" * 64),
    method="two-stage",
    settings={"lr": 5e-6, "steps": 400, "token": "(rare)", "clip": None},
    seed=3,
    nouns=("dog",),
    prompt="a photo of {}",
    size=512,
    checkpoint="400",
)


def make_delta(seed=0, names=("denoiser.conv.weight", "denoiser.conv.bias")):
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for index, name in enumerate(names):
        shape = (3, 2, index + 1)
        change = Change.between(torch.randn(shape, generator=generator) * 1e-4, torch.zeros(shape))
        weights[name] = change
    token = torch.randn(1, 4, generator=generator)
    return Delta(("(rare) dog",), {"(rare)": token}, weights)


def same(one, other):
    return (
        one.phrases == other.phrases
        and one.tokens.keys() == other.tokens.keys()
        and one.weights.keys() == other.weights.keys()
        and all(torch.equal(one.tokens[key], other.tokens[key]) for key in one.tokens)
        and all(
            torch.equal(one.weights[key].values, other.weights[key].values)
            and one.weights[key].scale == other.weights[key].scale
            and torch.equal(one.weights[key].expand(), other.weights[key].expand())
            for key in one.weights
        )
    )


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
plain = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    phrases=st.lists(names, min_size=1, max_size=3),
    token_names=st.lists(names, max_size=3, unique=True),
    weight_names=st.lists(names, max_size=3, unique=True),
    options=st.dictionaries(names, plain | st.floats(allow_nan=False, allow_infinity=False)),
    seed=st.integers(0, 2**31),
)
def test_a_subject_is_read_as_it_was_written(
    tmp_path, phrases, token_names, weight_names, options, seed
):
    made = make_delta(seed, weight_names)
    tokens = {name: made.tokens["(rare)"] + index for index, name in enumerate(token_names)}
    delta = Delta(tuple(phrases), tokens, made.weights)
    header = replace(HEADER, settings=options, seed=seed, nouns=tuple(phrases))
    path = tmp_path / "subject.safetensors"
    artifact.save(path, delta, header)
    found = artifact.load(path)
    assert found.header == header
    assert isinstance(found.header.nouns, tuple)
    assert same(found.delta, delta)
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_file_follows_from_its_inputs_alone(tmp_path):
    delta = make_delta()
    paths = [tmp_path / "one.safetensors", tmp_path / "another" / "two.safetensors"]
    shuffled = Delta(delta.phrases, dict(delta.tokens), dict(reversed(list(delta.weights.items()))))
    settings_shuffled = dict(reversed(list(HEADER.settings.items())))
    artifact.save(paths[0], delta, HEADER)
    artifact.save(paths[1], shuffled, replace(HEADER, settings=settings_shuffled))
    content = paths[0].read_bytes()
    assert content == paths[1].read_bytes()
    assert str(tmp_path).encode() not in content
    artifact.save(paths[0], delta, HEADER)
    assert content == paths[0].read_bytes()


@pytest.mark.parametrize(
    "field", ["method", "settings", "seed", "nouns", "prompt", "size", "checkpoint", "base"]
)
def test_every_field_of_the_header_is_kept(tmp_path, field):
    other = {
        "method": "x",
        "settings": {"lr": 1.0},
        "seed": -4,
        "nouns": ("cat", "dog"),
        "prompt": "{}",
        "size": 64,
        "checkpoint": "stage-one",
        "base": Identity("sd15", "other", "b" * 64),
    }
    header = replace(HEADER, **{field: other[field]})
    assert header != HEADER
    artifact.save(tmp_path / "a", make_delta(), header)
    assert artifact.load(tmp_path / "a").header == header


AGAIN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_artifact
from rarebooth import artifact
artifact.save(Path(sys.argv[1]), test_artifact.make_delta(), test_artifact.HEADER)
"""


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(tmp_path):
    artifact.save(tmp_path / "here", make_delta(), HEADER)
    command = [sys.executable, "-c", AGAIN, str(tmp_path / "there"), str(Path(__file__).parent)]
    subprocess.run(command, check=True, timeout=120)
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_the_file_is_small_and_plain(tmp_path):
    artifact.save(tmp_path / "a", make_delta(), HEADER)
    with safe_open(tmp_path / "a", framework="pt") as file:
        types = {name: file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
        content = json.loads(file.metadata()["rarebooth"])
    assert types == {
        "token/(rare)": torch.float32,
        "change/denoiser.conv.weight": torch.float16,
        "scale/denoiser.conv.weight": torch.float32,
        "change/denoiser.conv.bias": torch.float16,
        "scale/denoiser.conv.bias": torch.float32,
    }
    assert content.keys() == {"format", "phrases", "steer", *asdict(HEADER)}
    assert content["format"] == artifact.FORMAT == 2
    assert content["steer"] is None


def rewrite(path, change_header=lambda _: None, change_tensors=lambda _: None):
    """Write a sound file again with one thing in it changed."""
    artifact.save(path, make_delta(), HEADER)
    with safe_open(path, framework="pt") as file:
        content = json.loads(file.metadata()["rarebooth"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change_header(content)
    change_tensors(tensors)
    save_file(tensors, path, {"rarebooth": json.dumps(content)})


def test_a_newer_format_is_said_plainly(tmp_path):
    path = tmp_path / "future.safetensors"

    def newer(content):
        content.clear()
        content.update({"format": 3, "phrases": {"of": "another kind"}})

    rewrite(path, newer)
    with pytest.raises(ArtifactError, match=r"future\.safetensors has subject format 3.*format 2"):
        artifact.load(path)


def test_format_1_is_read(tmp_path):
    def older(content):
        content["format"] = 1
        del content["steer"]

    rewrite(tmp_path / "old", older)
    assert artifact.load(tmp_path / "old").delta.phrases == make_delta().phrases


def rich_delta(steer):
    """Low rank, DoRA, and a steering."""
    rng = torch.Generator().manual_seed(3)
    up, down = torch.randn(6, 2, generator=rng), torch.randn(2, 5, generator=rng)
    weights = {
        "denoiser.q.weight": LowRank(up, down),
        "denoiser.k.weight": LowRank(up + 1, down + 1, torch.rand(6, generator=rng)),
    }
    return Delta(("(this) dog",), {"<s1>": torch.randn(3, 8, generator=rng)}, weights, steer)


@pytest.mark.parametrize("kind", [Tail, Blend])
def test_low_rank_and_steering_are_kept_exactly(kind, tmp_path):
    delta = rich_delta(kind("(this)", torch.arange(12.0).view(3, 4), 0.7))
    artifact.save(tmp_path / "a", delta, HEADER)
    loaded = artifact.load(tmp_path / "a").delta
    wanted, found = (vars(each.steer) for each in (delta, loaded))
    assert type(loaded.steer) is kind
    assert all(
        torch.equal(torch.as_tensor(found[n]), torch.as_tensor(wanted[n]))
        for n in wanted
        if n != "word"
    )
    assert found["word"] == "(this)"
    assert torch.equal(loaded.tokens["<s1>"], delta.tokens["<s1>"])
    original = torch.randn(6, 5)
    for name, change in delta.weights.items():
        assert torch.equal(loaded.weights[name].applied(original), change.applied(original))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.pop("down/denoiser.q.weight"), "one half"),
        (lambda t: t.update({"down/denoiser.q.weight": torch.ones(3, 5)}), "do not fit"),
        (lambda t: t.update({"magnitude/denoiser.k.weight": torch.ones(4)}), "do not fit"),
        (lambda t: t.pop("steer/tail"), "steering"),
        (lambda t: t.update({"steer/blend": torch.ones(3, 4)}), "steering"),
        (lambda t: t.update({"steer/other": torch.ones(3, 4)}), "steering"),
    ],
)
def test_halves_that_do_not_fit_are_refused(spoil, message, tmp_path):
    path = tmp_path / "a"
    artifact.save(path, rich_delta(Tail("(this)", torch.ones(3, 4), 0.8)), HEADER)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    spoil(tensors)
    save_file(tensors, path, header)
    with pytest.raises(ArtifactError, match=message):
        artifact.load(path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("key", ["token/(rare)", "change/denoiser.conv.weight"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, bad, key):
    def spoil(tensors):
        tensors[key].view(-1)[-1] = bad

    rewrite(tmp_path / "a", change_tensors=spoil)
    with pytest.raises(ArtifactError, match="not finite"):
        artifact.load(tmp_path / "a")


def test_a_change_is_within_its_scale(tmp_path):
    def spoil(tensors):
        tensors["change/denoiser.conv.weight"].view(-1)[0] = -60000

    rewrite(tmp_path / "a", change_tensors=spoil)
    with pytest.raises(ArtifactError, match=r"holds 60000 .* from -1 to 1 times its scale"):
        artifact.load(tmp_path / "a")


@pytest.mark.parametrize("amount", [1e39, float("inf"), float("nan")])
def test_a_steering_that_is_not_finite_is_refused(tmp_path, amount):
    delta = rich_delta(Tail("(this)", torch.ones(3, 4), amount))
    artifact.save(tmp_path / "a", delta, HEADER)
    with pytest.raises(ArtifactError, match="not finite"):
        artifact.load(tmp_path / "a")


@pytest.mark.parametrize(("field", "value"), [("size", 2**70), ("size", 0), ("seed", 10**99)])
def test_numbers_that_no_subject_has_are_refused(tmp_path, field, value):
    rewrite(tmp_path / "a", lambda content: content.update({field: value}))
    with pytest.raises(ArtifactError, match=rf"damaged header \({field}"):
        artifact.load(tmp_path / "a")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["token", "weight"])
def test_numbers_that_are_not_finite_are_never_written(tmp_path, bad, where):
    delta = make_delta()
    spoilt = torch.tensor([[0.1, bad]])
    if where == "token":
        delta = replace(delta, tokens={"(rare)": spoilt})
    else:
        delta = replace(delta, weights={"a": Change.between(spoilt, torch.zeros(1, 2))})
    artifact.save(tmp_path / "a", make_delta(), HEADER)
    sound = (tmp_path / "a").read_bytes()
    with pytest.raises(DivergedError, match="not finite") as caught:
        artifact.save(tmp_path / "a", delta, HEADER)
    assert caught.value.exit_code == 5
    assert (tmp_path / "a").read_bytes() == sound
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "field", ["format", "phrases", *(name for name in asdict(HEADER)), ("base", "digest")]
)
@pytest.mark.parametrize("harm", ["gone", "kind"])
def test_a_header_that_lacks_something_is_refused_by_its_name(tmp_path, field, harm):
    place = field if isinstance(field, tuple) else (field,)

    def spoil(content):
        for key in place[:-1]:
            content = content[key]
        if harm == "gone":
            del content[place[-1]]
        else:
            content[place[-1]] = 7 if isinstance(content[place[-1]], str | list | dict) else "7"

    rewrite(tmp_path / "a", spoil)
    with pytest.raises(ArtifactError, match=r"damaged header \(" + r"\.".join(place)):
        artifact.load(tmp_path / "a")


def drop(key):
    return lambda tensors: tensors.pop(key)


def put(key, tensor):
    return lambda tensors: tensors.update({key: tensor})


@pytest.mark.parametrize(
    "spoil",
    [
        drop("scale/denoiser.conv.weight"),
        drop("change/denoiser.conv.weight"),
        put("scale/denoiser.conv.weight", torch.ones(2)),
        put("scale/denoiser.conv.weight", torch.ones((), dtype=torch.float16)),
        put("change/denoiser.conv.weight", torch.ones(3, 2, 1)),
        put("token/(rare)", torch.ones(4)),
        put("token/(rare)", torch.ones(1, 4, dtype=torch.int64)),
        put("chance/denoiser.conv.weight", torch.ones(3)),
        put("token", torch.ones(1, 4, dtype=torch.bool)),
    ],
)
def test_tensors_of_another_kind_are_refused(tmp_path, spoil):
    rewrite(tmp_path / "a", change_tensors=spoil)
    with pytest.raises(ArtifactError, match=r"a holds .*conv\.weight|a holds 'token"):
        artifact.load(tmp_path / "a")


def test_files_that_are_no_subjects_are_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"no subject file at .*absent"):
        artifact.load(tmp_path / "absent")
    with pytest.raises(ArtifactError, match="no subject file"):
        artifact.load(tmp_path)
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ArtifactError, match=r"other\.safetensors .* not a rarebooth subject"):
        artifact.load(tmp_path / "other.safetensors")
    for content in (b"", b"\0" * 8, b"not tensors", b"PK\x03\x04" + b"\0" * 40):
        (tmp_path / "junk").write_bytes(content)
        with pytest.raises(ArtifactError, match="junk cannot be read"):
            artifact.load(tmp_path / "junk")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_half_written_file_is_refused(tmp_path, share):
    artifact.save(tmp_path / "a", make_delta(), HEADER)
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ArtifactError, match="damaged"):
        artifact.load(tmp_path / "a")


SOUND: list[bytes] = []


def sound_bytes(folder):
    if not SOUND:
        artifact.save(folder / "sound", make_delta(), HEADER)
        SOUND.append((folder / "sound").read_bytes())
    return bytearray(SOUND[0])


def load_or_refuse(path):
    """A file is either refused as an artifact, or what it holds has the declared types."""
    try:
        found = artifact.load(path)
    except ArtifactError:
        return
    assert all(isinstance(phrase, str) for phrase in found.delta.phrases)
    assert isinstance(found.header.base.digest, str)
    assert isinstance(found.header.seed, int)
    assert all(tensor.dtype == torch.float32 for tensor in found.delta.tokens.values())
    assert all(change.expand().isfinite().all() for change in found.delta.weights.values())


quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(data=st.data())
def test_mutated_files_are_read_or_refused(tmp_path, data):
    content = sound_bytes(tmp_path)
    start = struct.unpack("<Q", content[:8])[0] + 8
    for _ in range(data.draw(st.integers(1, 4))):
        # Mostly in the header: that is where bytes have a meaning.
        place = data.draw(st.integers(0, start) | st.integers(0, len(content) - 1))
        place = min(place, len(content) - 1)
        kind = data.draw(st.sampled_from(["flip", "set", "insert", "cut", "digit"]))
        if kind == "flip":
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "set":
            content[place] = data.draw(st.integers(0, 255))
        elif kind == "digit":
            content[place] = data.draw(st.sampled_from(list(b'0123456789"[]{},:-eF')))
        elif kind == "insert":
            content[place:place] = data.draw(st.binary(min_size=1, max_size=9))
        else:
            del content[place : place + data.draw(st.integers(1, 9))]
            content = content or bytearray(b"\0")
    (tmp_path / "mutated").write_bytes(content)
    load_or_refuse(tmp_path / "mutated")


json_values = st.recursive(
    plain | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@quick
@given(data=st.data())
def test_headers_with_anything_in_them_are_read_or_refused(tmp_path, data):
    sound = {"format": 1, "phrases": ["a"], **asdict(HEADER)}
    whole = data.draw(st.booleans())
    if whole:
        content = data.draw(json_values)
    else:
        key = data.draw(st.sampled_from(sorted(sound)))
        content = {**sound, key: data.draw(json_values)}
    text = data.draw(st.just(json.dumps(content)) | st.text(max_size=20))
    tensors = {"token/(rare)": torch.ones(1, 4)}
    save_file(tensors, tmp_path / "fuzzed", {"rarebooth": text})
    load_or_refuse(tmp_path / "fuzzed")


def test_a_deeply_nested_header_is_refused(tmp_path):
    save_file({}, tmp_path / "deep", {"rarebooth": '{"format":' + "[" * 100_000})
    with pytest.raises(ArtifactError, match="damaged header"):
        artifact.load(tmp_path / "deep")


def test_another_base_is_refused_and_both_are_named(tmp_path):
    artifact.save(tmp_path / "a", make_delta(), HEADER)
    found = artifact.load(tmp_path / "a")
    artifact.require_base(found, Identity("a copy elsewhere", "stable-diffusion", "a" * 64))
    with pytest.raises(ArtifactError, match=r"'sd21' \(aaaaaaaaaaaa\).*'sd15'.*\(bbbbbbbbbbbb\)"):
        artifact.require_base(found, Identity("sd15", "stable-diffusion", "b" * 64))
