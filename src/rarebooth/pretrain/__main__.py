"""The command ``python -m rarebooth.pretrain``: all stages or one, each resumable by itself."""

# ruff: noqa: PLC0415  a stage loads only what it needs

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from rarebooth.errors import RareboothError, SettingsError


def main(arguments: list[str] | None = None) -> int:
    """Run a stage; returns the exit code."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    import torch

    torch.set_num_threads(given.threads)
    try:
        _STAGES[given.stage](given)
    except RareboothError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _render(given: argparse.Namespace) -> None:
    from rarebooth.pretrain.rendering import render_shards

    render_shards(given.out, **_rendering(given))


def _rendering(given: argparse.Namespace) -> dict[str, Any]:
    """Which shards this process renders, and how."""
    from rarebooth.pretrain.shards import SHARD_SIZE

    mine, _, of = given.share.partition("/")
    if not (mine.isdigit() and of.isdigit() and int(mine) < int(of)):
        raise SettingsError(f"--share is {given.share!r}; it must be like 0/2 or 1/2.")
    return {
        "numbers": range(-(-given.count // SHARD_SIZE))[int(mine) :: int(of)],
        "seed": given.seed,
        "size": given.size,
        "device": given.device,
    }


def _training(given: argparse.Namespace, batch: int) -> dict[str, Any]:
    """What every training is told; ``batch`` unless another is given."""
    return {
        "minutes": given.minutes,
        "batch": given.batch or batch,
        "lr": given.lr,
        "device": given.device,
        "seed": given.seed,
    }


def _autoencoder(given: argparse.Namespace) -> None:
    from rarebooth.pretrain.autoencoder import train_autoencoder

    train_autoencoder(
        given.data,
        given.state,
        **_training(given, 16),
        encoder_time=given.encoder_time,
        base=given.base,
        thaw=given.thaw,
    )


def _latents(given: argparse.Namespace) -> None:
    from rarebooth.pretrain.latents import make_latents

    make_latents(given.data, given.state, device=given.device)


def _denoiser(given: argparse.Namespace) -> None:
    from rarebooth.pretrain.denoiser import train_denoiser

    train_denoiser(
        given.data,
        given.state,
        **_training(given, 32),
        base=given.base,
    )


def _pack(given: argparse.Namespace) -> None:
    from rarebooth.pretrain.packing import pack

    pack(given.state, given.out, version=given.version, machine=given.machine)


def _samples(given: argparse.Namespace) -> None:
    from rarebooth.pretrain.samples import sample_sheets

    sample_sheets(given.base, given.out, seed=given.seed, device=given.device)


def _judges_data(given: argparse.Namespace) -> None:
    from rarebooth.pretrain.judges.data import draw_groups
    from rarebooth.pretrain.rendering import render_shards

    render_shards(given.out, **_rendering(given), draw=draw_groups)


def _clip(given: argparse.Namespace) -> None:
    from rarebooth.pretrain.judges.clip import train_clip

    train_clip(
        given.data,
        given.state,
        given.tokenizer,
        **_training(given, 128),
    )


def _dino(given: argparse.Namespace) -> None:
    from rarebooth.pretrain.judges.dino import train_dino

    train_dino(
        given.data,
        given.state,
        **_training(given, 64),
    )


def _judges_pack(given: argparse.Namespace) -> None:
    from rarebooth.pretrain.judges.packing import pack_clip, pack_dino

    about = {"version": given.version, "machine": given.machine}
    pack_clip(given.state, given.tokenizer, given.out / "clip", **about)
    pack_dino(given.state, given.out / "dino", **about)


def _examiner_data(given: argparse.Namespace) -> None:
    from rarebooth.pretrain.examiner.scenes import draw_examiner_scenes
    from rarebooth.pretrain.rendering import render_shards

    render_shards(given.out, **_rendering(given), draw=draw_examiner_scenes)


def _examiner(given: argparse.Namespace) -> None:
    from rarebooth.pretrain.examiner.learning import train_examiner

    train_examiner(
        given.data,
        given.state,
        **_training(given, 64),
    )


def _examiner_pack(given: argparse.Namespace) -> None:
    from rarebooth.pretrain.examiner.packing import pack_examiner

    pack_examiner(given.state, given.out, machine=given.machine)


def _whole(given: argparse.Namespace) -> None:
    from rarebooth.pretrain.whole import Whole

    names = "out minutes pictures version machine size base device seed"
    Whole(**{name: getattr(given, name) for name in names.split()}).run()


_STAGES = {
    "all": _whole,
    "render": _render,
    "autoencoder": _autoencoder,
    "latents": _latents,
    "denoiser": _denoiser,
    "pack": _pack,
    "samples": _samples,
    "judges-data": _judges_data,
    "clip": _clip,
    "dino": _dino,
    "judges-pack": _judges_pack,
    "examiner-data": _examiner_data,
    "examiner": _examiner,
    "examiner-pack": _examiner_pack,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rarebooth.pretrain", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=int, default=1)
    common.add_argument("--device", default="cpu", help="cpu or cuda")
    common.add_argument("--seed", type=int, default=0)

    stage = stages.add_parser(
        "all", parents=[common], help="base, judges and examiner, one stage after another"
    )
    stage.add_argument("--out", type=Path, required=True, help="a folder; continued if it exists")
    stage.add_argument("--minutes", type=float, required=True, help="of training, in all")
    stage.add_argument("--pictures", type=int, default=64_000, help="rendered for each stock")
    stage.add_argument("--size", type=int, default=64, help="64 or 128, the base's pictures")
    stage.add_argument("--from", dest="base", type=Path, help="a base folder to start from")
    stage.add_argument("--version", required=True, help='like "embedded-1"')
    stage.add_argument("--machine", required=True, help="what trains it, in words")

    for name, text in (
        ("render", "photograph random scenes"),
        ("judges-data", "photograph individuals for the judges, each in two scenes"),
        ("examiner-data", "photograph scenes for the examiner"),
    ):
        stage = stages.add_parser(name, parents=[common], help=text)
        stage.add_argument("--out", type=Path, required=True, help="the data folder")
        stage.add_argument("--count", type=int, required=True, help="pictures, in shards of 1000")
        stage.add_argument("--size", type=int, default=64)
        stage.add_argument("--share", default="0/1", help="1/3: the second of three processes")

    for name, text in (
        ("autoencoder", "learn pictures to latents and back; the encoder is frozen on the way"),
        ("denoiser", "learn U-Net and text encoder together"),
    ):
        stage = stages.add_parser(name, parents=[common], help=text)
        stage.add_argument("--data", type=Path, required=True)
        stage.add_argument("--state", type=Path, required=True, help="continued if it exists")
        stage.add_argument("--minutes", type=float, required=True, help="of training, in all")
        stage.add_argument("--batch", type=int)
        stage.add_argument("--lr", type=float, default=8e-4)
        stage.add_argument("--from", dest="base", type=Path, help="a base folder to start from")
        if name == "autoencoder":
            stage.add_argument("--encoder-time", type=float, default=0.5, help="share of minutes")
            stage.add_argument("--thaw", action="store_true", help="with --from: encoder learns on")

    stage = stages.add_parser("latents", parents=[common], help="encode what was rendered")
    stage.add_argument("--data", type=Path, required=True)
    stage.add_argument("--state", type=Path, required=True)

    stage = stages.add_parser("pack", parents=[common], help="write the base folder")
    stage.add_argument("--state", type=Path, required=True)
    stage.add_argument("--out", type=Path, required=True)
    stage.add_argument("--version", required=True, help='like "embedded-1"')
    stage.add_argument("--machine", required=True, help="what it was trained on, in words")

    stage = stages.add_parser("samples", parents=[common], help="draw samples beside true renders")
    stage.add_argument("--base", type=Path, required=True)
    stage.add_argument("--out", type=Path, required=True)
    _add_judges(stages, common)
    _add_examiner(stages, common)
    return parser


def _add_judges(stages: Any, common: argparse.ArgumentParser) -> None:  # noqa: ANN401
    for name, text in (
        ("clip", "learn which sentence goes with which picture"),
        ("dino", "learn to tell individuals apart, by self-distillation"),
    ):
        stage = stages.add_parser(name, parents=[common], help=text)
        stage.add_argument("--data", type=Path, required=True, help="made by judges-data")
        stage.add_argument("--state", type=Path, required=True, help="continued if it exists")
        stage.add_argument("--minutes", type=float, required=True, help="of training, in all")
        stage.add_argument("--batch", type=int, help="pictures, or for dino individuals")
        stage.add_argument("--lr", type=float, default=1.5e-3)
        if name == "clip":
            stage.add_argument("--tokenizer", type=Path, required=True, help="the base's folder")

    stage = stages.add_parser("judges-pack", parents=[common], help="write both judges' folders")
    stage.add_argument("--state", type=Path, required=True)
    stage.add_argument("--tokenizer", type=Path, required=True, help="as clip was trained with")
    stage.add_argument("--out", type=Path, required=True)
    stage.add_argument("--version", required=True, help='like "judges-1"')
    stage.add_argument("--machine", required=True, help="what they were trained on, in words")


def _add_examiner(stages: Any, common: argparse.ArgumentParser) -> None:  # noqa: ANN401
    stage = stages.add_parser(
        "examiner", parents=[common], help="learn to read pictures, to examine a base"
    )
    stage.add_argument("--data", type=Path, required=True)
    stage.add_argument("--state", type=Path, required=True, help="continued if it exists")
    stage.add_argument("--minutes", type=float, required=True, help="of training, in all")
    stage.add_argument("--batch", type=int)
    stage.add_argument("--lr", type=float, default=1.5e-3)

    stage = stages.add_parser("examiner-pack", parents=[common], help="write the examiner's folder")
    stage.add_argument("--state", type=Path, required=True)
    stage.add_argument("--out", type=Path, required=True)
    stage.add_argument("--machine", required=True, help="what it was trained on, in words")


if __name__ == "__main__":
    sys.exit(main())
