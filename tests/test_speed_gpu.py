"""The benchmark for GPUs runs through on a CPU, where it says what a GPU's row would."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from recipes import NO_EIGHT_BIT

SCRIPT = Path(__file__).parents[1] / "benchmarks/speed/gpu.py"
SIDES = {"ours", "ours, compiled", "diffusers"}


@pytest.mark.slow
def test_the_script_measures_every_side_in_turns(tmp_path, monkeypatch):
    pytest.importorskip("bitsandbytes", reason=NO_EIGHT_BIT)
    out = tmp_path / "gpu.json"
    given = ["--out", str(out), "--size", "tiny", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *given])
    monkeypatch.setattr(sys, "path", [*sys.path])
    made = runpy.run_path(str(SCRIPT))
    extent = made["EXTENTS"]["tiny"]
    made["main"]()

    found = json.loads(out.read_text("utf-8"))
    steps = [row for row in found["rows"] if "stage" in row]
    places = {(row["side"], row["stage"], row["batch"]) for row in steps}
    assert places == {(s, t, b) for s in SIDES for t in ("token", "denoiser") for b in (1, 4)}
    assert len(steps) == len(places)
    for row in steps:
        assert row["counted"] == extent.rounds * extent.timed
        assert 0 < row["least"] <= row["seconds"]
        reached = row["operations"] / row["seconds"]
        assert row["share"] == pytest.approx(reached / found["ceiling"])
        assert "notices" not in row
    needed = {(row["stage"], row["batch"]): row["operations"] for row in steps}
    # Through the U-Net and back, to the prompt alone or to all weights.
    assert needed["token", 1] < needed["denoiser", 1]
    assert needed["denoiser", 4] == pytest.approx(4 * needed["denoiser", 1])
    drawn = {row["side"]: row for row in found["rows"] if row.get("what") == "a picture"}
    assert drawn.keys() == {"ours", "diffusers"}
    assert all(row["counted"] == extent.rounds for row in drawn.values())
    *whole, spare = found["rows"][-1 - extent.rounds :]
    assert [row["counted"] for row in whole] == [1] * extent.rounds
    assert all(row["seconds"] > 0 for row in whole)
    assert "low memory" in spare["what"]
