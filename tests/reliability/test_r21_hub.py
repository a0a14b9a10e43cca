"""A Hub that is busy, slow, gone or wrong: tried again a few times, and never believed."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hub_server import NAME, Misbehaviour, serving

TOKEN = "hf_ThisMustNeverBeWrittenAnywhere456"
SCRIPT = """
import sys
from rarebooth import hub
from rarebooth.errors import RareboothError
hub.WAITS = (0.05,) * 4
try:
    found = hub.find(sys.argv[1], notice=print)
except RareboothError as error:
    print("REFUSED", error.exit_code, error)
else:
    print("FOUND", found.folder)
"""
FAULTS = (
    # what, where, how often; whether it ends well
    ("429", "/api/", 2, True),
    ("500", "/api/", 3, True),
    ("503", "HEAD", 2, True),
    ("503", "GET /owner/model/resolve", 3, True),
    ("half", "unet/diffusion_pytorch_model.safetensors", 1, True),
    ("slow", "/api/", 1, True),
    ("500", "/api/", 10**6, False),
    ("502", "GET /owner/model/resolve", 10**6, False),
    ("other", "unet/diffusion_pytorch_model.safetensors", 10**6, False),
    ("404", "/api/", 10**6, False),
)
MOST = 6
"""How often one thing may be asked for by one layer: five tries again."""


def find(address, home):
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
        [sys.executable, "-c", SCRIPT, NAME],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()[-1], done.stdout


@pytest.mark.slow
@pytest.mark.trials("R21", "a Hub that is busy, slow, cut off, wrong or gone", quick=2, full=10)
def test_a_failing_hub(trials, tiny_folder, tmp_path):
    most = 0
    for trial in trials:
        with trial as number:
            kind, part, times, well = FAULTS[number if trials.count > 2 else 1 + 3 * number]
            wrong = Misbehaviour(kind, part, times)
            home = tmp_path / f"home-{number}"
            with serving(tiny_folder(), wrong) as address:
                last, everything = find(address, home)
                if well:
                    assert last.startswith("FOUND"), everything
                else:
                    assert last.startswith("REFUSED 2"), everything
                    assert "--base" in last or "start again" in last or "give a folder" in last
                    # What is wrong is never taken, not even later, when the Hub is well again.
                    wrong.times = 0
                    if kind == "other":
                        assert "is not what the Hub announced" in last
                        assert find(address, home)[0] == last
                        Path(re.findall(r"Delete (.+) and start again", last)[0]).unlink()
                    last, everything = find(address, home)
                    assert last.startswith("FOUND"), everything
                most = max(most, *(wrong.asked.values()))
            last, everything = find("http://127.0.0.1:9", home)
            assert last.startswith("FOUND"), everything  # from the cache, without a network
    trials.figure(f"one address asked for {most} times at most")


@pytest.mark.trials("R21", "no network and nothing in the cache", quick=1, full=1)
def test_no_network(trials, tmp_path):
    for trial in trials:
        with trial:
            began = time.monotonic()
            last, everything = find("http://127.0.0.1:9", tmp_path)
            assert last.startswith("REFUSED 2"), everything
            assert "Check the connection and start again" in last
            trials.figure(f"{time.monotonic() - began:.0f} s")
