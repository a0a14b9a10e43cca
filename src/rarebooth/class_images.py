"""Class images: other members of a subject's class, learnt beside it so that the class stays.

(Prior preservation: Ruiz et al. 2023, section 3.3. Regularisation: Kumari et al. 2023, section 3.)
A method asks for them before it tunes anything; where they come from is one of the sources here.
"""

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rarebooth.base import Session
from rarebooth.caches import user_caches
from rarebooth.decoder import decode
from rarebooth.errors import (
    BaseModelError,
    PhotosError,
    ResourceError,
    SettingsError,
    is_full,
)
from rarebooth.photos import Pixels, UnusablePhotoError
from rarebooth.subject import bytes_of, is_picture, natural

# A run knows its source, the store knows runs, and diffusers, which draws, takes seconds to import:
# rarebooth.store and rarebooth.sample are imported where they are used.

CACHE = "RAREBOOTH_CACHE"
"""The environment variable that names the folder of class images."""

LONGEST_SLUG = 40
"""Letters of a prompt in a folder's name: in any script far below the 255 bytes it may have."""


def _silent(*_: object) -> None:
    """Tells nobody."""


class Source(Protocol):
    """Where class images come from."""

    def __call__(self, session: Session, prompt: str, count: int) -> Pixels:
        """``count`` pictures of a class, uint8 [count, size, size, 3].

        Raises:
            SettingsError: a count below 1.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How class images are drawn: picture i with the seed ``seed + i``.

    Steps and guidance are those of diffusers' DreamBooth script, which takes its pipeline's.
    """

    seed: int = 0
    sampler: str = "ddim"
    steps: int = 50
    guidance: float = 7.5

    def batches(
        self, session: Session, prompt: str, numbers: Iterable[int]
    ) -> Iterator[list[tuple[int, Pixels]]]:
        """Pictures with their numbers, by the frozen base, each batch as soon as it is drawn.

        Raises:
            BaseModelError: the base is being tuned.
            DivergedError: see ``sample.draw``.
        """
        from rarebooth.sample import draw_batches  # noqa: PLC0415

        for part in ("denoiser", "text"):
            if any(weight.requires_grad for weight in session.base.part(part).parameters()):
                raise BaseModelError(
                    f"Class images were asked for while the base's {part} is being tuned, but they "
                    "must show what it knew before. Ask for them before anything is tuned."
                )
        numbers = list(numbers)
        waiting = iter(numbers)
        for pictures in draw_batches(
            Session(session.base),  # the words that the caller's session has added are not the base
            [prompt] * len(numbers),
            [self.seed + number for number in numbers],
            sampler=self.sampler,
            steps=self.steps,
            guidance=self.guidance,
        ):
            yield [(next(waiting), picture) for picture in pictures]


@dataclass(frozen=True, kw_only=True)
class Drawn(Source):
    """Drawn from the frozen base and kept nowhere.

    ``progress`` is told, after each batch, how many are done and how many there will be.
    """

    drawing: Drawing = field(default_factory=Drawing)
    progress: Callable[[int, int], None] = _silent

    def __call__(self, session: Session, prompt: str, count: int) -> Pixels:
        """See ``Source``; raises what ``Drawing.batches`` does."""
        pictures = _room(session, count)
        for batch in self.drawing.batches(session, prompt, range(count)):
            for number, picture in batch:
                pictures[number] = picture
            self.progress(batch[-1][0] + 1, count)
        return pictures


@dataclass(frozen=True, kw_only=True)
class Cached(Source):
    """Drawn from the frozen base and kept as PNG files, each batch as soon as it is drawn.

    An interrupted drawing continues, and any run with the same base, prompt and drawing finds them,
    however many it wants. A file that is damaged, or says that it was made in another way, is drawn
    again. Processes may draw the same at once: a file appears whole, and either's serves both.

    ``folder`` holds one folder for every base, prompt and drawing. ``progress`` is told, after each
    batch, how many are done and how many there will be.
    """

    folder: Path
    drawing: Drawing = field(default_factory=Drawing)
    progress: Callable[[int, int], None] = _silent

    def __call__(self, session: Session, prompt: str, count: int) -> Pixels:
        """See ``Source``; raises what ``Drawing.batches`` does.

        Raises:
            ResourceError: the folder cannot be written, and pictures are missing.
        """
        pictures = _room(session, count)
        home = self.place(session, prompt)
        missing: list[int] = []
        for number in range(count):
            kept = _kept(_file(home, number), self._text(session, prompt, number))
            if kept is None:
                missing.append(number)
            else:
                pictures[number] = kept
        if missing:
            _require_writable(home)
        done = count - len(missing)
        for batch in self.drawing.batches(session, prompt, missing):
            for number, picture in batch:
                _keep(_file(home, number), picture, self._text(session, prompt, number))
                pictures[number] = picture
            done += len(batch)
            self.progress(done, count)
        return pictures

    def kept(self, session: Session, prompt: str, count: int) -> int:
        """How many of them lie there, whether or not each is sound."""
        home = self.place(session, prompt)
        return sum(_file(home, number).is_file() for number in range(count))

    def place(self, session: Session, prompt: str) -> Path:
        """The folder of these class images: its name holds all that determines them."""
        text = json.dumps(self._text(session, prompt, 0), sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        slug = "-".join(re.findall(r"[^\W_]+", prompt.lower()))[:LONGEST_SLUG].strip("-")
        return self.folder / f"{slug or 'class'}-{key}"

    def _text(self, session: Session, prompt: str, number: int) -> dict[str, str]:
        """All that determines a picture."""
        return {
            "base": session.base.identity.digest,
            "size": str(session.base.size),
            "prompt": prompt,
            "seed": str(self.drawing.seed + number),
            "sampler": self.drawing.sampler,
            "steps": str(self.drawing.steps),
            "guidance": str(float(self.drawing.guidance)),
        }


@dataclass(frozen=True, kw_only=True)
class Folder(Source):
    """Real pictures of the class, the first in natural order of name, read as photos are.

    ``progress`` is told, after each picture, how many are read and how many there may be;
    ``notice`` of files that are left out, and of a folder that holds fewer than were asked for,
    which are then all there are.
    """

    folder: Path
    progress: Callable[[int, int], None] = _silent
    notice: Callable[[str], None] = _silent

    def __call__(self, session: Session, prompt: str, count: int) -> Pixels:
        """See ``Source``; up to ``count`` pictures.

        Raises:
            PhotosError: no such folder, or nothing usable in it.
            ResourceError: the process that decodes pictures cannot be started.
        """
        files = _pictures_in(self.folder)
        pictures = _room(session, count, len(files))
        found = 0
        for file in files:
            if found == len(pictures):
                break
            try:
                pictures[found] = decode(bytes_of(file), session.base.size)[0]
            except UnusablePhotoError as error:
                self.notice(f"the class image {file.name!r} is left out: {error}")
            else:
                found += 1
                self.progress(found, len(pictures))
        if not found:
            raise PhotosError(
                f"{str(self.folder)!r} holds no picture that can be used as a class image for "
                f"{prompt!r} ({len(files)} left out); put pictures of the class there, as JPEG, "
                "PNG or WebP, or have them drawn"
            )
        if found < count:
            self.notice(
                f"{str(self.folder)!r} holds {found} class images for {prompt!r} and {count} were "
                f"asked for; {found} are used"
            )
        return pictures[:found]


def folder_digest(folder: Path) -> str:
    """SHA-256, in hex, of the pictures in a folder of class photos.

    One that cannot be read, or is larger than any photo, is left out of training, and counts by its
    name alone.

    Raises:
        PhotosError: no such folder, or none that can be read.
    """
    if not folder.is_dir():
        raise PhotosError(f"there is no folder of class photos {str(folder)!r}; check the path")
    try:
        files = sorted(file for file in folder.iterdir() if is_picture(file))
    except OSError as error:
        raise PhotosError(
            f"the folder of class photos {str(folder)!r} cannot be read ({error.strerror}); check "
            "its permissions"
        ) from error
    lines = [f"{file.name} {_file_digest(file)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _file_digest(file: Path) -> str:
    try:
        return hashlib.sha256(bytes_of(file)).hexdigest()
    except UnusablePhotoError:
        return "left out"


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where class images are kept: ``RAREBOOTH_CACHE``, else below the user's cache folder."""
    if environment.get(CACHE):
        return Path(environment[CACHE]).expanduser()
    return user_caches(environment) / "class-images"


def _room(session: Session, count: int, most: int | None = None) -> Pixels:
    """Memory for ``count`` pictures, or for ``most`` if that is fewer."""
    if count < 1:
        raise SettingsError(f"{count} class images were asked for; ask for at least 1.")
    size = session.base.size
    return np.empty((count if most is None else min(count, most), size, size, 3), np.uint8)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.png"


def _kept(path: Path, text: Mapping[str, str]) -> Pixels | None:
    """The picture of a PNG that is whole and says this of itself, or None."""
    extent = (int(text["size"]),) * 2
    try:
        data = bytes_of(path)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            said = {key: picture.info.get(f"rarebooth:{key}") for key in text}
            if said != text or picture.size != extent or picture.mode != "RGB":
                return None
            picture.verify()  # the checksums, which decoding does not look at
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            return np.asarray(picture)
    except Exception:  # decoders raise whatever a damaged file leads them to
        return None


def _keep(path: Path, picture: Pixels, text: Mapping[str, str]) -> None:
    from rarebooth.store import writing  # noqa: PLC0415

    chunk = PngInfo()
    for key, value in text.items():
        chunk.add_itxt(f"rarebooth:{key}", value)
    try:
        with writing(path) as beside:
            Image.fromarray(picture).save(beside, format="PNG", pnginfo=chunk)
    except ResourceError as error:
        raise _unwritable(path.parent, error.__cause__ or error) from error


def _require_writable(folder: Path) -> None:
    """Find out before a batch is drawn, which can take minutes."""
    from rarebooth.store import write_nothing  # noqa: PLC0415

    try:
        write_nothing(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: BaseException) -> ResourceError:
    from rarebooth.store import free  # noqa: PLC0415

    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    room = f", {free(folder / 'any'):,} bytes are free" if is_full(error) else ""
    return ResourceError(
        f"Class images cannot be kept in {folder}: {reason}{room}. Make room there, or name "
        f"another folder in the environment variable {CACHE}. What is kept there is not drawn "
        "again."
    )


def _pictures_in(folder: Path) -> list[Path]:
    """The files that are pictures by their first bytes or claim it by name, in natural order."""
    try:
        entries = sorted(folder.iterdir(), key=natural)
    except OSError as error:
        raise PhotosError(
            f"there are no class images to be read from {str(folder)!r} ({error.strerror}); name a "
            "folder with pictures of the class"
        ) from None
    return [path for path in entries if is_picture(path)]
