"""Minutes of bad pictures, files and folders: whatever is wrong with them has a name.

In full, every run draws a seed of its own and prints it; ``FUZZ_SEED`` repeats it.
"""

import json
import math
import os
import random
import shutil
import sys
import time

import pytest
import torch
from safetensors.torch import save
from test_r10_images import KINDS, started
from test_r12_safetensors import mutated, subject

from rarebooth import artifact, decoder
from rarebooth.artifact import Header
from rarebooth.bases import open_base
from rarebooth.checking import check
from rarebooth.decoder import decode
from rarebooth.delta import Blend, Change, Delta, LowRank, Tail
from rarebooth.errors import ArtifactError, RareboothError
from rarebooth.photos import UnusablePhotoError
from test_checking import ELSEWHERE, WRAPPINGS, gadgets
from trials import FULL

SECONDS = 300 if FULL else 1

ODD = (
    *(None, True, False, -1, 0, 1, 3, 2**31, 2**63, 10**30, 0.5, -0.0, 1e300, math.nan, math.inf),
    *("", "x", "\0", "\u202e", "../../x", "/dev/zero", "os.system", "x" * 9999, "{", "\ud800"),
    *([], {}, [None, None], ["os", "system"], [[]] * 99, {"a": {"b": []}}, [1] * 999),
)


@pytest.fixture
def dice(trials, request):
    """A generator of its own for each test, whose seed is known."""
    drawn = random.SystemRandom().randrange(2**32) if FULL else 1
    seed = int(os.environ.get("FUZZ_SEED", drawn))
    sys.stdout.write(f"{request.node.name}: FUZZ_SEED={seed}\n")  # shown where the test fails
    yield random.Random(f"{seed} {request.node.name}")
    trials.figure(f"seed {seed}")


def minutes():
    """The numbers of attempts from 1 on, until the time is over."""
    until = time.monotonic() + SECONDS
    yield 1
    count = 1
    while time.monotonic() < until:
        count += 1
        yield count


@pytest.mark.trials("R10", "pictures of every bad kind, decoded for 5 minutes", quick=1, full=1)
def test_pictures(trials, dice):
    for trial in trials:
        with trial:
            count, sound, refused, child = 0, 0, 0, started()
            for count in minutes():  # noqa: B007
                made = dice.choice(KINDS)(dice)
                try:
                    pixels, _ = decode(made.data, 32)
                    assert pixels.shape == (32, 32, 3)
                    sound += made.shows is not None
                except UnusablePhotoError:
                    assert made.shows is None, "a sound picture was refused"
                    refused += 1
                assert decoder._shared.child is child, "a picture ended the decoder"
            assert sound
            trials.figure(
                f"{count} pictures, {refused} refused and all {sound} sound ones read by one "
                "decoder, nothing else raised"
            )


def subjects(folder):
    """Sound subject files, with everything that a subject can hold."""
    low = LowRank(torch.ones(4, 1), torch.ones(1, 5))
    change = Change.between(torch.ones(6, 5), torch.zeros(6, 5))
    word = {"(rare)": torch.ones(3, 8)}
    deltas = (
        Delta(("(rare) dog",), word),
        Delta(("dog",), {}, {"text.a": low, "denoiser.c": change}),
        Delta(("a", "b"), {}, {"denoiser.conv_in.weight": change}),
        Delta(("dog",), {}, {}, Tail("dog", torch.ones(2, 8), 0.8)),
        Delta(("dog",), {}, {}, Blend("dog", torch.ones(3, 8), 0.5)),
    )
    yield subject(folder)
    for delta in deltas:
        nouns = tuple("dog" for _ in delta.phrases)
        header = Header(ELSEWHERE, "any", {"a": [1, None]}, 3, nouns, "a {}", 32, "400")
        artifact.save(folder / "sound.safetensors", delta, header)
        yield (folder / "sound.safetensors").read_bytes()


@pytest.mark.trials("R12", "fuzzed subject files, read for 5 minutes", quick=1, full=1)
def test_subjects(trials, dice, tmp_path):
    for trial in trials:
        with trial:
            count, refused = 0, 0
            sound, path = [*subjects(tmp_path)], tmp_path / "fuzzed"
            for content in sound:
                path.write_bytes(content)
                artifact.load(path)
            for count in minutes():  # noqa: B007
                path.write_bytes(mutated(dice.choice(sound), dice))
                check(path)
                try:
                    artifact.load(path)
                except ArtifactError:
                    refused += 1
            trials.figure(f"{count} files, {refused} refused, nothing else raised")


@pytest.mark.trials("R12", "fuzzed files of other programs, checked for 5 minutes", quick=1, full=1)
def test_files_of_other_programs(trials, dice, tmp_path):
    sound = [
        save({"<cat>": torch.ones(2, 768)}),
        save({"emb_params": torch.ones(1, 1024)}),
        save({"clip_l": torch.ones(1, 768), "clip_g": torch.ones(1, 1280)}),
        save({"x.lora_A.weight": torch.ones(4, 8), "x.lora_B.weight": torch.ones(8, 4)}),
        save(
            {"lora_unet_x.lora_down.weight": torch.ones(4, 8), "lora_unet_x.alpha": torch.ones(())}
        ),
        *(wrap(each) for wrap in WRAPPINGS.values() for each in gadgets(tmp_path / "x").values()),
    ]
    for trial in trials:
        with trial:
            count, safe, path = 0, 0, tmp_path / "fuzzed"
            for count in minutes():  # noqa: B007
                path.write_bytes(mutated(dice.choice(sound), dice))
                safe += check(path).safe
            assert not (tmp_path / "x").exists()
            trials.figure(f"{count} files, {safe} still sound, nothing raised")


def spoilt(content, dice):
    """The same JSON with one of its values another, or one of its keys."""
    places = [content]
    for place in places:
        inner = place.values() if isinstance(place, dict) else place
        places += [each for each in inner if isinstance(each, dict | list) and each]
    place = dice.choice([each for each in places if each])
    key = dice.choice([*place]) if isinstance(place, dict) else dice.randrange(len(place))
    match dice.randrange(4):
        case 0:
            del place[key]
        case 1 if isinstance(place, dict):
            place[dice.choice(("auto_map", "", "_class_name", "transformers_weights"))] = place[key]
        case _:
            place[key] = dice.choice(ODD)
    return content


def spoil(path, dice):
    """Change a JSON file: its bytes, or what it says."""
    if dice.random() < 0.3:
        path.write_bytes(mutated(path.read_bytes().rjust(8), dice))
    else:
        content = spoilt(json.loads(path.read_text("utf-8")), dice)
        path.write_text(json.dumps(content), "utf-8")


@pytest.mark.trials("R12", "bases with fuzzed JSON, opened for 5 minutes", quick=1, full=1)
def test_configurations_of_bases(trials, dice, tiny_folder, tmp_path):
    folder = tmp_path / "base"
    shutil.copytree(tiny_folder(), folder)
    files = sorted(folder.rglob("*.json"))
    for trial in trials:
        with trial:
            count, refused = 0, 0
            for count in minutes():  # noqa: B007
                path = dice.choice(files)
                kept = path.read_bytes()
                spoil(path, dice)
                check(folder)
                try:
                    open_base(str(folder), device="cpu")
                except RareboothError:
                    refused += 1
                finally:
                    path.write_bytes(kept)
            trials.figure(f"{count} folders, {refused} refused, nothing else raised")


@pytest.mark.trials("R13", "hostile folders, checked for 5 minutes", quick=1, full=1)
def test_hostile_folders(trials, dice, tmp_path):
    pickles = [*gadgets(tmp_path / "canary").values()]
    for trial in trials:
        with trial:
            count = 0
            for count in minutes():
                folder = tmp_path / f"folder-{count}"
                folder.mkdir()
                for number in range(dice.randint(0, 3)):
                    harmless(folder / str(number), dice)
                hostile(folder / dice.choice(("x", "unet", "a/b/c")), pickles, dice)
                assert not check(folder).safe, sorted(folder.rglob("*"))
                shutil.rmtree(folder)
            assert not (tmp_path / "canary").exists()
            trials.figure(f"{count} folders, none safe, nothing raised")


def harmless(place, dice):
    place.mkdir(exist_ok=True)
    (place / "<cat>.safetensors").write_bytes(save({"<cat>": torch.ones(1, 768)}))
    (place / "config.json").write_text(json.dumps({"a": dice.random()}), "utf-8")
    (place / "notes").write_bytes(dice.randbytes(3).hex().encode())


def hostile(place, pickles, dice):
    """One thing that can run code, or of which that cannot be told."""
    place.mkdir(exist_ok=True, parents=True)
    key = "".join(
        dice.choice((char, f"\\u{ord(char):04x}", f"\\u{ord(char):04X}"))
        for char in dice.choice(("auto_map", "custom_pipelines"))
    )
    around = " " * dice.choice((0, 1, 70_000)) + '{"a": [' * dice.randint(0, 20)
    match dice.randrange(6):
        case 0:
            wrap = dice.choice([*WRAPPINGS.values()])
            (place / dice.choice(("x.bin", "x.safetensors", "x"))).write_bytes(
                wrap(dice.choice(pickles))
            )
        case 1:
            text = around + f'{{"{key}": {{"AutoModel": "owner/repo--x.Y"}}}}'
            (place / "config.json").write_text(text + "]}" * around.count("["), "utf-8")
        case 2:
            odd = json.dumps([dice.choice(("os", "diffusers", "my_unet")), "system"])
            (place / "model_index.json").write_text(f'{{"unet": {odd}}}', "utf-8")
        case 3:
            ending = dice.choice(("py", "PYC", "so", "so.3", "pyd", "dll", "dylib", "bat"))
            (place / f"x.{ending}").write_bytes(dice.randbytes(9))
        case 4:
            (place / "weights").write_bytes(b"\x7fELF" + dice.randbytes(60))
        case _:
            (place / "config.json").write_bytes(dice.choice((b"[" * 9999, b"{", b"\xff", b"")))
