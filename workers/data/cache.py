"""Decoded images kept once per node: files that its workers map and so share in memory.

A folder of the user's own holds one file for each set of images, and notes of folders that were opened before. The
name of a file is a hash of all that decides the pixels. Its contents are proved by a checksum whenever it is opened.
Who makes a file holds the lock beside it, and the others wait. The kernel frees the lock of a process that dies, and
the next one begins anew. A mapped file is locked shared, so nobody removes what is in use.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.errors import InvalidInputError, first_line
from nas.files import MIN_FREE_BYTES, private_folder, whole_file, write_whole
from nas.records import JSON
from nas.text import json_hash
from workers.data.batches import Batch
from workers.data.source import tell

logger = logging.getLogger(__name__)

CACHE_BYTES = 4 * 2**30
"""More than this is not kept: the files that were not used for longest go first."""
UNUSED_S = 30 * 86400.0
"""What nobody used for so long goes."""
STANDSTILL_S = 60.0
"""Who waits for a process whose file has not grown for so long decodes for itself."""
LOOK_S = 0.2
"""Between two looks at the file of another process."""
HEADER_BYTES = 4096
FORMAT = 1
"""A number that grows when the files mean something else."""
IMAGES = ".images"
NOTE = ".source"
LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """Images that are decoded wholly, or were."""

    about: JSON
    """All that decides the pixels, and their number; plain values."""
    shape: tuple[int, ...]
    """(num, channels, side, side)."""
    decode: Callable[[], Iterator[Batch]]
    """Gives them in parts, in order: uint8 images and int64 labels."""
    unchanged: Callable[[], bool] = lambda: True
    """Whether the files are still those that `about` tells of."""

    @property
    def num_bytes(self) -> int:
        """Header, pixels and labels."""
        return HEADER_BYTES + int(np.prod(self.shape)) + 8 * self.shape[0]


class ImageCache:
    """The cache of one user on one node. Any number of processes may use one folder at the same time.

    Args:
        base: a folder of any owner; the user's own folder is made in it when something is kept.
        required: whether `decoded` is to fail where nothing can be kept, instead of decoding into memory.
    """

    def __init__(self, base: Path, *, required: bool = False) -> None:
        self.folder = base / f"nas-images-{os.getuid()}"
        self.required = required

    def images(self, wanted: ImageSet) -> Batch:
        """The images as they lie in the file, decoded into it first where it is missing or damaged.

        Returns:
            Images that are mapped, not copied, and labels. Nothing that is written into them reaches the file.

        Raises:
            OSError: if they cannot be kept here.
            InvalidInputError: what decoding raises.
        """
        self._open()
        entry = self.folder / f"{json_hash(wanted.about)}{IMAGES}"
        found = _read(entry, wanted)
        if found is None:
            with _alone(entry, wanted.num_bytes):
                found = _read(entry, wanted) or self._made(entry, wanted)
        return found

    def noted(self, state: str) -> JSON | None:
        """What was noted under this name; None where nothing is, or something else."""
        note = self.folder / f"{state}{NOTE}"
        try:
            self._open()
            value, digest = json.loads(note.read_text(encoding="utf-8"))
            os.utime(note)
        except (OSError, ValueError, TypeError):
            return None
        return value if json_hash(value) == digest else None

    def note(self, state: str, value: JSON) -> None:
        """Note something under a name, where that is possible."""
        with suppress(OSError):
            self._open()
            write_whole(self.folder / f"{state}{NOTE}", json.dumps([value, json_hash(value)]).encode())

    def _open(self) -> None:
        try:
            private_folder(self.folder)
        except InvalidInputError as error:
            raise OSError(errno.EACCES, str(error)) from error

    def _made(self, entry: Path, wanted: ImageSet) -> Batch:
        _make_room(self.folder, wanted.num_bytes)
        with whole_file(entry) as part:
            _write(part, wanted)
            if not wanted.unchanged():
                raise OSError(errno.ESTALE, "the images have changed while they were decoded")
        made = _read(entry, wanted)
        if made is None:
            raise OSError(errno.EIO, "the disk gives back other bytes than were written")
        return made


_cache: ContextVar[ImageCache | None] = ContextVar("_cache", default=None)


def cache_at(base: str, *, required: bool = False) -> ImageCache:
    """The cache in a folder; empty for the temporary folder of this node."""
    return ImageCache(Path(base or tempfile.gettempdir()), required=required)


@contextmanager
def caching(cache: ImageCache) -> Iterator[None]:
    """Keep and look up decoded images there for the time of the block."""
    token = _cache.set(cache)
    try:
        yield
    finally:
        _cache.reset(token)


def current_cache() -> ImageCache | None:
    """The one of `caching`."""
    return _cache.get()


def decoded(wanted: ImageSet) -> Batch:
    """The images from the cache, or from the memory of this process where there is none or it cannot be used.

    Raises:
        InvalidInputError: what decoding raises.
        OSError: if they cannot be kept, and the cache says that they must be.
    """
    cache = _cache.get()
    if cache is not None:
        try:
            return cache.images(wanted)
        except OSError as error:
            if cache.required:
                raise
            logger.warning("%s", not_kept_text(cache, error))
    images = torch.empty(wanted.shape, dtype=torch.uint8)
    labels = torch.empty(wanted.shape[0], dtype=torch.int64)
    done = 0
    for some, of_some in wanted.decode():
        images[done : done + len(some)] = some
        labels[done : done + len(some)] = of_some
        done += len(some)
    return images, labels


def not_kept_text(cache: ImageCache, error: OSError) -> str:
    """A line for people."""
    reason = error.strerror or first_line(error)
    return f"decoded images are not kept in {cache.folder} ({reason}); every worker decodes into its own memory"


def _write(part: Path, wanted: ImageSet) -> None:
    digest = hashlib.sha256()
    all_labels = []
    with part.open("wb") as file:
        file.write(bytes(HEADER_BYTES))
        for images, labels in wanted.decode():
            pixels = images.contiguous().numpy().data
            digest.update(pixels)
            file.write(pixels)
            all_labels.append(labels)
        content = torch.cat(all_labels).numpy().tobytes()
        digest.update(content)
        file.write(content)
        file.seek(0)
        file.write(_header(wanted, digest.hexdigest()))


def _header(wanted: ImageSet, digest: str) -> bytes:
    text = json.dumps([wanted.about, digest], sort_keys=True).encode()
    assert len(text) < HEADER_BYTES, "what decides the pixels is short"
    return text.ljust(HEADER_BYTES, b"\0")


def _read(entry: Path, wanted: ImageSet) -> Batch | None:
    """The images of a file that is whole; None if there is none. A damaged one is removed."""
    try:
        file = entry.open("rb")
    except FileNotFoundError:
        return None
    with file:
        # A mapping holds a descriptor of its own, and with it this lock, as long as the images are in use.
        fcntl.flock(file, fcntl.LOCK_SH)
        if os.fstat(file.fileno()).st_size == wanted.num_bytes:
            content = np.asarray(np.memmap(file, np.uint8, mode="c"))
            digest = hashlib.sha256(content[HEADER_BYTES:].data).hexdigest()
            if content[:HEADER_BYTES].tobytes() == _header(wanted, digest):
                os.utime(entry)
                return _batch(content, wanted)
        logger.warning("%s is damaged: its checksum or size is another; its images are decoded again", entry)
        entry.unlink(missing_ok=True)
        return None


def _batch(content: np.ndarray, wanted: ImageSet) -> Batch:
    end = wanted.num_bytes - 8 * wanted.shape[0]
    labels = np.frombuffer(content[end:].tobytes(), np.int64).copy()
    return torch.from_numpy(content[HEADER_BYTES:end].reshape(wanted.shape)), torch.from_numpy(labels)


@contextmanager
def _alone(entry: Path, num_bytes: int) -> Iterator[None]:
    """Hold the lock of a file that is to be made, and remove the lock at the end.

    Raises:
        OSError: if it cannot be had, or its holder stands still.
    """
    path = entry.with_suffix(LOCK)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            _wait_for(descriptor, entry, num_bytes)
            if _is_at(descriptor, path):  # else its last holder has removed it
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


def _wait_for(descriptor: int, entry: Path, num_bytes: int) -> None:
    part = entry.with_name(f".{entry.name}.part")
    grown = 0
    moved_at = time.monotonic()
    while not _try_lock(descriptor):
        size = _size(part)
        if size != grown:
            grown = size
            moved_at = time.monotonic()
        if time.monotonic() - moved_at > STANDSTILL_S:
            raise OSError(errno.ETIMEDOUT, f"another process decodes them and stands still for {STANDSTILL_S:g} s")
        tell("waiting for another process that decodes", grown // 2**20, num_bytes // 2**20, "MB")
        time.sleep(LOOK_S)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _make_room(folder: Path, num_bytes: int) -> None:
    """Remove what dead processes left, what is old, and then what was used least lately, until so much has room.

    Raises:
        OSError: if there is no room.
    """
    for left in folder.glob(".*.part"):
        key = left.name.removeprefix(".").partition(".")[0]
        _remove_unused(left, folder / f"{key}{LOCK}")
    for lock in folder.glob(f"*{LOCK}"):
        _remove_unused(lock, lock)
    kept = sorted(_by_last_use(folder))
    total = sum(size for _, size, _ in kept)
    for used_at, size, path in kept:
        is_old = time.time() - used_at > UNUSED_S
        is_in_the_way = path.suffix == IMAGES and not _has_room(folder, num_bytes, total)
        if (is_old or is_in_the_way) and _remove_unused(path, path):
            total -= size
    if not _has_room(folder, num_bytes, total):
        raise OSError(errno.ENOSPC, f"no room for {num_bytes / 2**20:,.0f} MiB")


def _by_last_use(folder: Path) -> Iterator[tuple[float, int, Path]]:
    for path in (*folder.glob(f"*{IMAGES}"), *folder.glob(f"*{NOTE}")):
        with suppress(FileNotFoundError):
            status = path.stat()
            yield status.st_mtime, status.st_size, path


def _has_room(folder: Path, num_bytes: int, total: int) -> bool:
    free = shutil.disk_usage(folder).free
    return total + num_bytes <= CACHE_BYTES and num_bytes + MIN_FREE_BYTES <= free


def _remove_unused(path: Path, lock: Path) -> bool:
    """Remove a file whose lock nobody holds; says whether it did."""
    with suppress(OSError):
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            if _try_lock(descriptor) and _is_at(descriptor, lock):
                path.unlink(missing_ok=True)
                if lock.suffix == LOCK:
                    lock.unlink(missing_ok=True)
                return True
        finally:
            os.close(descriptor)
    return False


def pixel_versions() -> dict[str, Any]:
    """What decodes and resizes: other versions may give other pixels."""
    from importlib.metadata import version

    return {"format": FORMAT, **{name: version(name) for name in ("pillow", "timm", "torchvision")}}
