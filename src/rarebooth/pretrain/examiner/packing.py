"""The stage ``examiner-pack``: a state becomes a folder that the exam reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from rarebooth.pretrain import recipe
from rarebooth.pretrain.examiner.learning import ANSWERS, FILE, new_network
from rarebooth.pretrain.examiner.network import ExaminerNetwork
from rarebooth.pretrain.networks import parameters
from rarebooth.pretrain.shards import RENDERED, SIZE, WORLDS
from rarebooth.pretrain.training import read_averages, read_curve, read_progress
from rarebooth.store import write_json, writing

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"


def pack_examiner(
    state: Path,
    out: Path,
    *,
    machine: str,
    network: Callable[[], ExaminerNetwork] = new_network,
) -> None:
    """Write the averaged weights of a state in float16, with what they answer and their recipe."""
    progress = read_progress(state / FILE)
    notes: dict[str, Any] = progress["notes"]
    examiner = network()
    read_averages(state / FILE, examiner, "examiner")
    out.mkdir(parents=True, exist_ok=True)
    with writing(out / WEIGHTS) as beside:
        weights = {
            name: weight.contiguous() for name, weight in examiner.half().state_dict().items()
        }
        save_file(weights, beside, metadata={"format": "pt"})
    write_json(out / CONFIG, {"size": notes[SIZE], "answers": notes[ANSWERS]})
    measured = [line for line in read_curve(state / FILE) if "class" in line]
    write_json(
        out / recipe.FILE,
        {
            "worlds": notes[WORLDS],
            "pictures_rendered": notes[RENDERED],
            "machine": machine,
            "torch": torch.__version__,
            "parameters": parameters(examiner),
            "steps": progress["step"],
            "pictures": progress["pictures"],
            "minutes": round(progress["seconds"] / 60, 1),
            "curve": [
                {key: line[key] for key in ("pictures", "loss", *notes[ANSWERS])}
                for line in measured
            ],
        },
    )
