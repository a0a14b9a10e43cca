"""Safetensors, sound, damaged or made to harm: read or refused, in words and in time."""

import io
import random
import struct
import time
import zipfile
from collections.abc import Callable, Iterable

import pytest
import resident
import torch

from rarebooth import artifact
from rarebooth.artifact import Header
from rarebooth.base import Session
from rarebooth.checking import check
from rarebooth.delta import Change, Delta
from rarebooth.errors import ArtifactError, RareboothError
from test_checking import ELSEWHERE, entry, raw, save

SLOWEST = 2.0
"""Seconds that a file may take."""

MOST = 300
"""MiB that it may take."""


def subject(folder, **changed) -> bytes:
    """A sound subject file, or one with another header or other tensors."""
    change = Change.between(torch.ones(6, 5), torch.zeros(6, 5))
    word = torch.ones(1, 8)
    delta = Delta(("(rare) dog",), {"(rare)": word}, {"denoiser.conv_in.weight": change})
    header = Header(ELSEWHERE, "two-stage", {}, 3, ("dog",), "a photo of {}", 32, "400")
    path = folder / "sound.safetensors"
    artifact.save(path, delta, header)
    return path.read_bytes()


def mutated(content: bytes, dice: random.Random) -> bytes:
    """The same with a few changes, most of them in the header, where bytes have a meaning."""
    changed = bytearray(content)
    start = 8 + int.from_bytes(content[:8], "little")
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(start if dice.random() < 0.8 else len(changed))
        place = min(place, len(changed) - 1)
        match dice.randrange(5):
            case 0:
                changed[place] ^= 1 << dice.randrange(8)
            case 1:
                changed[place] = dice.choice(b'0123456789"[]{},:-eF')
            case 2:
                changed[place:place] = dice.randbytes(dice.randint(1, 9))
            case 3:
                del changed[place : place + dice.randint(1, 9)]
            case _:
                del changed[place:]
        changed = changed or bytearray(b"\0")
    return bytes(changed)


def made_to_harm() -> dict[str, bytes]:
    """Files that a parser might choke on, by what is wrong with them."""
    many = {f"t{n}": entry(8 * n, 8 * n + 8) for n in range(100_000)}
    nan = torch.tensor([1.0, float("nan")])
    return {
        "a header of 100,000 tensors": raw(many, bytes(800_000)),
        "a header of 1 GB": raw(b"{}", length=1 << 30),
        "a header of 2^63 bytes": raw(b"{}", length=1 << 63),
        "numbers that are none": save({"emb_params": nan}),
        "places that overlap": raw({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)),
        "places beyond the end": raw({"a": entry(0, 1 << 40)}, bytes(8)),
        "a shape that is too large": raw({"a": entry(shape=(1 << 40, 1 << 40))}, bytes(8)),
        "deep nesting": raw(b'{"a":' + b"[" * 200_000),
        "no type": raw({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    }


def in_a_zip(beginnings: Iterable[bytes]) -> bytes:
    """An archive of files that begin so, each listed, none of them named after what it is."""
    with io.BytesIO() as memory:
        with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
            for number, beginning in enumerate(beginnings):
                archive.writestr(str(number), beginning)
        return memory.getvalue()


def directory(count: int, wide: bool = False) -> bytes:
    """A ZIP of nothing but a list of members, whose record at its end may lie about their count."""
    entries = (struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 16) for _ in range(count))
    listed = b"".join(entries)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 0 if wide else len(listed), 0, 0)
    if wide:
        size = len(listed)
        end = (
            struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, 0)
            + struct.pack("<4sLQL", b"PK\6\7", 0, size, 1)
            + end
        )
    return listed + end


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "9 MB of empty lists": ("model_index.json", lambda: b"[" + b"[]," * 3_000_000 + b"[]]"),
    "4 MB of empty lists": ("x.json", lambda: b"[" + b"[]," * 1_398_000 + b"[]]"),
    "100,000 of them": ("model_index.json", lambda: b"[" + b"[]," * 100_000 + b"[]]"),
    "deep nesting": ("model_index.json", lambda: b"[" * 100_000),
    "deep objects": ("unet/config.json", lambda: b'{"a":' * 100_000),
    "a number of a million digits": ("vae/config.json", lambda: b"9" * 1_000_000),
    "a ZIP's list of 100,000": ("x.bin", lambda: directory(100_000)),
    "the same as ZIP64": ("x.bin", lambda: directory(100_000, wide=True)),
    "a ZIP of 1,000 almost pickles": ("x.pt", lambda: in_a_zip([b"N0" * 5_000 + b"\0"] * 1_000)),
}


def taken(act, path) -> float:
    """Seconds of this process that an act on a file takes."""
    began = time.process_time()
    act(path)
    return time.process_time() - began


def refused(path) -> None:
    """Load what is no subject."""
    with pytest.raises(ArtifactError):
        artifact.load(path)


def not_safe(path) -> None:
    """Check what is none of a model's."""
    assert not check(path).safe


@pytest.mark.trials("R12", "fuzzed subject files, checked and loaded", quick=150, full=3000)
def test_fuzzed_files_are_read_or_refused(trials, tmp_path):
    dice, sound, slowest, read = random.Random(12), subject(tmp_path), 0.0, 0
    path = tmp_path / "fuzzed.safetensors"
    for trial in trials:
        with trial:
            path.write_bytes(mutated(sound, dice))
            slowest = max(slowest, taken(check, path))
            try:
                slowest = max(slowest, taken(artifact.load, path))
                read += 1
            except ArtifactError:
                pass
            assert slowest < SLOWEST
    trials.figure(f"{read} still sound; {slowest * 1000:.0f} ms at most")


@pytest.mark.trials("R12", "files that are made to harm a parser", quick=9, full=9)
def test_files_made_to_harm_are_refused_in_time(trials, tmp_path):
    files, slowest = made_to_harm(), 0.0
    for trial, (what, content) in zip(trials, files.items(), strict=True):
        with trial:
            path = tmp_path / "harmful.safetensors"
            path.write_bytes(content)
            slowest = max(slowest, taken(check, path), taken(refused, path))
            assert slowest < SLOWEST, (what, slowest)
            assert check(path).problems, what
    trials.figure(f"{slowest * 1000:.0f} ms at most")


@pytest.mark.trials("R12", "JSON and archives that are made to harm, in a folder", quick=9, full=9)
def test_folders_made_to_harm_are_refused_in_time(trials, tmp_path):
    slowest, largest = 0.0, 0.0
    for trial, (what, (name, content)) in zip(trials, BOMBS.items(), strict=True):
        with trial as number:
            path = tmp_path / str(number) / name
            path.parent.mkdir(parents=True)
            path.write_bytes(content())
            before = resident.now()
            resident.forget_peak()
            slowest = max(slowest, taken(not_safe, tmp_path / str(number)))
            largest = max(largest, resident.peak() - before)
            assert slowest < SLOWEST, (what, slowest)
            assert largest < MOST, (what, largest)
    trials.figure(f"{slowest * 1000:.0f} ms and +{largest:.0f} MiB at most")


@pytest.mark.trials("R12", "a subject of another base, or with wrong shapes", quick=2, full=2)
def test_a_subject_of_another_base_says_which(trials, tiny_base, tiny_folder, tmp_path):
    from rarebooth import drawing

    base = tiny_base()
    path = tmp_path / "subject.safetensors"
    for trial in trials:
        with trial as number:
            header = Header(
                base.identity if number else ELSEWHERE,
                *("two-stage", {}, 3, ("dog",), "a photo of {}", base.size, "400"),
            )
            change = Change.between(torch.ones(7, 5), torch.zeros(7, 5))
            weights = {"denoiser.conv_in.weight": change}
            word = base.word("rare")
            delta = Delta(("(rare) dog",), {"(rare)": word}, weights if number else {})
            artifact.save(path, delta, header)
            if number:
                with Session(base) as session, pytest.raises(ArtifactError, match="has shape"):
                    session.wear(artifact.load(path).delta)
            else:
                with pytest.raises(RareboothError, match="sd15"):
                    drawing.generate(path, ["{}"], tmp_path / "out", base=str(tiny_folder()))
