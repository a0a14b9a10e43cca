"""A Hub that is busy, slow, gone or wrong: tried again a few times, and never believed."""

import errno
import os
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from hub_server import NAME, Misbehaviour, serving
from huggingface_hub import constants
from safetensors.torch import save_file

from children import ended, started
from rarebooth import cli, hub
from training_jobs import record

TOKEN = "hf_ThisMustNeverBeWrittenAnywhere456"
SCRIPT = """
import sys
from rarebooth import hub
from rarebooth.errors import RareboothError
from rarebooth.metrics.encoders.fetching import DINO
hub.WAITS = (0.05,) * 4
name, kind = sys.argv[1:]
try:
    found = hub.fetch(name, (name,), {"base": hub.BASE, "judge": DINO}[kind], print)
except RareboothError as error:
    print("REFUSED", error.exit_code, error)
else:
    print("FOUND", found.folder)
"""
NETWORK = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostby")
"""Audit events of Python that tell of a try to reach another machine."""
TWO_STAGE = ("--token-steps", "2", "--steps", "2", "--lr", "1e-3")
OFFLINE = (
    # whether HF_HUB_OFFLINE is set, and what is trained
    (False, (*TWO_STAGE, "--previews", "none")),
    (True, (*TWO_STAGE, "--previews", "none")),
    (False, (*TWO_STAGE, "--previews", "sheet")),
    (False, ("--method", "textual-inversion", "--steps", "2", "--previews", "none")),
)
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
FAULTS = (
    # what, where, how often; whether it ends well
    ("429", "/api/", 2, True),
    ("500", "/api/", 3, True),
    ("503", "HEAD", 2, True),
    ("503", "GET /owner/model/resolve", 3, True),
    ("half", WEIGHTS, 1, True),
    ("slow", "/api/", 1, True),
    ("500", "/api/", 10**6, False),
    ("502", "GET /owner/model/resolve", 10**6, False),
    ("other", WEIGHTS, 10**6, False),
    ("404", "/api/", 10**6, False),
)
MOST = 6
"""How often one thing may be asked for by one layer: five tries again."""


def find(address, home, kind="base"):
    environment = {
        **os.environ,
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_TOKEN": TOKEN,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "HF_HUB_ETAG_TIMEOUT": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, NAME, kind],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()[-1], done.stdout


@pytest.fixture
def repositories(tiny_folder, tmp_path):
    """A folder of each kind, as the Hub would hold it, and the weights that go wrong."""
    judge = tmp_path / "judge"
    judge.mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        (judge / name).write_text("{}", "utf-8")
    save_file({"weights": torch.rand(300, 300)}, judge / "model.safetensors")
    return {
        "base": (tiny_folder(), "unet/diffusion_pytorch_model.safetensors"),
        "judge": (judge, "model.safetensors"),
    }


@pytest.mark.slow
@pytest.mark.trials("R21", "a Hub that is busy, slow, cut off, wrong or gone", quick=2, full=10)
def test_a_failing_hub(trials, repositories, tmp_path):
    most = 0
    for trial in trials:
        with trial as number:
            fault = FAULTS[number if trials.count > 2 else 1 + 3 * number]
            most = max(most, withstood(fault, repositories["base"], tmp_path / f"home-{number}"))
    trials.figure(f"one address asked for {most} times at most")


@pytest.mark.slow
@pytest.mark.trials("R21", "the same, where it is asked for a judge", quick=1, full=10)
def test_a_failing_hub_of_judges(trials, repositories, tmp_path):
    most = 0
    for trial in trials:
        with trial as number:
            fault, home = FAULTS[number if trials.count > 1 else 4], tmp_path / f"home-{number}"
            most = max(most, withstood(fault, repositories["judge"], home, "judge"))
    trials.figure(f"one address asked for {most} times at most")


def withstood(fault, repository, home, kind="base"):
    """Ask a Hub for a model while it misbehaves, and afterwards; how often it was asked at most."""
    (what, part, times, well), (folder, weights) = fault, repository
    wrong = Misbehaviour(what, part.replace(WEIGHTS, weights), times)
    with serving(folder, wrong) as address:
        last, everything = find(address, home, kind)
        if well:
            assert last.startswith("FOUND"), everything
        else:
            assert last.startswith("REFUSED 2"), everything
            assert any(each in last for each in ("--base", "start again", "--choose last"))
            # What is wrong is never taken, not even later, when the Hub is well again.
            wrong.times = 0
            if what == "other":
                assert "is not what the Hub announced" in last or "was not fetched whole" in last
                assert find(address, home, kind)[0] == last
                Path(re.findall(r"Delete (.+) and start again", last)[0]).unlink()
            last, everything = find(address, home, kind)
            assert last.startswith("FOUND"), everything
    last, everything = find("http://127.0.0.1:9", home, kind)
    assert last.startswith("FOUND"), everything  # from the cache, without a network
    return max(wrong.asked.values())


@pytest.mark.trials("R21", "no network and nothing in the cache", quick=1, full=1)
def test_no_network(trials, tmp_path):
    for trial in trials:
        with trial:
            began = time.monotonic()
            last, everything = find("http://127.0.0.1:9", tmp_path)
            assert last.startswith("REFUSED 2"), everything
            assert "Check the connection and start again" in last
            trials.figure(f"{time.monotonic() - began:.0f} s")


def without_network(home, asked, jobs, *, offline):
    """Does what command lines say, where each try to reach a network fails and is written down."""
    # As in a process that is started with HF_HOME; this one's server has read what it was before.
    os.environ["HF_HOME"] = constants.HF_HOME = str(home)
    constants.HF_HUB_CACHE = f"{home}/hub"
    constants.HF_HUB_OFFLINE = offline
    hub.WAITS = ()

    def refuse(event, given):
        if event.startswith(NETWORK):
            with asked.open("a", encoding="utf-8") as file:
                file.write(f"{event} {given}\n")
            raise OSError(errno.ENETUNREACH, "Network is unreachable")

    sys.addaudithook(refuse)
    sys.exit(next((code for words in jobs if (code := cli.run(words))), 0))


@pytest.mark.slow
@pytest.mark.trials(
    "R21", "no network, and the base in the Hub's cache: trained and drawn", quick=1, full=4
)
def test_a_cached_base_needs_no_network(trials, tiny_folder, photos, tmp_path):
    home, asked = tmp_path / "home", tmp_path / "asked.txt"
    asked.touch()
    with serving(tiny_folder(), Misbehaviour("nothing", "", 0)) as address:
        last, everything = find(address, home)
    assert last.startswith("FOUND"), everything
    for trial in trials:
        with trial as number:
            offline, own = OFFLINE[number]
            out, pictures = tmp_path / f"run-{number}", tmp_path / f"pictures-{number}"
            words = ["train", str(photos), "--noun", "dog", "--base", NAME, "--device", "cpu"]
            words += ["--choose", "last", "--checkpoint-every", "1", *own, "--out", str(out)]
            drawn = ["generate", str(out), "a photo of {}", "--steps", "1", "--out", str(pictures)]
            jobs = partial(without_network, offline=offline)
            assert ended(started(jobs, home, asked, [words, drawn])) == 0
            assert not asked.read_text("utf-8")
            assert record(out)["status"] == "finished"
            assert len(list(pictures.iterdir())) == 1
    # What is not in the cache is asked for: a try that is made is seen.
    jobs = partial(without_network, offline=False)
    words = ["train", str(photos), "--noun", "dog", "--base", NAME, "--out", str(tmp_path / "no")]
    assert ended(started(jobs, tmp_path / "nowhere", asked, [words])) == 2
    assert "getaddrinfo" in asked.read_text("utf-8")
