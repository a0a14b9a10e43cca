"""Ten minutes of bad pictures and bad subject files: whatever is wrong with them has a name."""

import random
import time

import pytest
from test_r10_images import KINDS, started
from test_r12_safetensors import mutated, subject

from rarebooth import artifact, decoder
from rarebooth.checking import check
from rarebooth.decoder import decode
from rarebooth.errors import ArtifactError
from rarebooth.photos import UnusablePhotoError
from trials import FULL

SECONDS = 600 if FULL else 2


@pytest.mark.trials("R10", "pictures of every bad kind, decoded for 5 minutes", quick=1, full=1)
def test_pictures(trials):
    for trial in trials:
        with trial:
            dice, count, sound, refused, child = random.Random(1), 0, 0, 0, started()
            until = time.monotonic() + SECONDS / 2
            while time.monotonic() < until:
                made = dice.choice(KINDS)(dice)
                count += 1
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


@pytest.mark.trials("R12", "fuzzed subject files, read for 5 minutes", quick=1, full=1)
def test_subjects(trials, tmp_path):
    for trial in trials:
        with trial:
            dice, count, refused = random.Random(2), 0, 0
            content, path = subject(tmp_path), tmp_path / "fuzzed"
            until = time.monotonic() + SECONDS / 2
            while time.monotonic() < until:
                path.write_bytes(mutated(content, dice))
                count += 1
                check(path)
                try:
                    artifact.load(path)
                except ArtifactError:
                    refused += 1
            trials.figure(f"{count} files, {refused} refused, nothing else raised")
