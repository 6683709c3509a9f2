"""What is known about a data set before it is loaded."""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import median_low
from typing import Self, TypeVar

import numpy as np

from nas.data_facts import DataFacts
from nas.errors import InvalidInputError, listed

HASHED_BYTES = 64 * 2**20
"""Up to this size all contents enter the fingerprint, above it a sample of this size at most."""
CHUNK_BYTES = 256 * 2**10
"""Bytes read of each file in a sample."""

CROP_PCT = 0.875
"""Share that validation keeps of images of all sizes: 224 of 256 pixels, timm's default."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Per channel, of ImageNet's images scaled to [0, 1]: timm's, which takes seconds to import."""

T = TypeVar("T")
Show = Callable[[str, int, int, str], object]
"""(what is done, number done, number of all, of what); 0 for all where their number is not known yet."""
_show: ContextVar[Show] = ContextVar("_show", default=lambda what, done, total, unit: None)


@dataclass(kw_only=True, frozen=True, slots=True)
class DataSource:
    """A data set that `open_data` has found complete and readable. Nothing of it is held in memory."""

    text: str
    """What opens the same data from another working directory: as given, with an absolute path."""
    kind: str
    """The part of the text before the colon."""
    name: str
    """Short name for the study: letters, digits, dots and dashes."""
    num_classes: int
    in_chans: int
    image_size: int
    """Side of the square images that the model sees, pixels."""
    mean: tuple[float, ...]
    """Per channel, of images scaled to [0, 1]."""
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    """How images of other sizes are resized; this and the two that follow are timm's words, with timm's meaning."""
    crop_pct: float = 1.0
    """Share of the resized image's side that validation keeps."""
    crop_mode: str = "center"
    label_names: tuple[str, ...] = ()
    """In the order of the labels, as `plain_text` gives them; empty where they have no names."""
    num_train: int
    """Images."""
    num_validation: int
    num_test: int = 0
    """Images that no search sees; 0 where the data have none."""
    fingerprint: str
    """SHA-256 (64 hex digits) over names, sizes and contents; see docs/reference/data-formats.md for how much of
    the contents of large sets."""
    passed_over: str = ""
    """What lies among the images and is none, for people; empty where nothing does."""
    state: str = field(default="", compare=False)
    """SHA-256 (64 hex digits) over names, sizes and times of change of all files when they were opened; empty where
    nothing is noted of them."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return self.in_chans, self.image_size, self.image_size

    @property
    def stored(self) -> Self:
        """The same data as they are kept for training: before the cut, of the side that timm resizes to."""
        return replace(self, image_size=math.floor(self.image_size / self.crop_pct), crop_pct=1.0)

    @property
    def facts(self) -> DataFacts:
        """What a study records of it."""
        return DataFacts(**{known.name: getattr(self, known.name) for known in fields(DataFacts)})


@dataclass(kw_only=True, frozen=True, slots=True)
class LabelledImages:
    """All images of a data set one by one, as they are: for copying them into another form."""

    class_names: tuple[str, ...]
    """In the order of the labels."""
    labels: np.ndarray
    """(num_images,) int64, of the training images first, then of the validation images."""
    num_train: int
    name_of: Callable[[int], str]
    """Index of an image -> what its owner calls it."""
    read: Callable[[int], np.ndarray]
    """Index of an image -> (height, width, 3) uint8. Raises InvalidInputError, with the image's name, if it cannot be
    read."""
    passed_over: str = ""
    """See DataSource."""


@contextmanager
def showing(show: Show) -> Iterator[None]:
    """Let `show` hear, for the time of the block, how far the work on data is."""
    token = _show.set(show)
    try:
        yield
    finally:
        _show.reset(token)


def tell(what: str, done: int, total: int, unit: str = "images") -> None:
    """Say how far the work on data is; see Show."""
    _show.get()(what, done, total, unit)


def fingerprint(parts: Iterable[bytes]) -> str:
    """SHA-256 over the parts, each with its length, so that moving a boundary changes it."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def require_classes(text: str, labels: np.ndarray, names: Sequence[str], at_least: int) -> None:
    """Refuse data from which nothing can be learnt.

    Args:
        labels: (num_images,) indices into names.
        at_least: images that each class needs.

    Raises:
        InvalidInputError: if there is one class only, or a class has too few images.
    """
    if len(names) < 2:
        raise InvalidInputError(
            f"data {text!r} has {len(names)} class{'es' * (not names)}; a classifier needs at least 2"
        )
    counts = np.bincount(labels, minlength=len(names))
    if poor := [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count < at_least]:
        raise InvalidInputError(
            f"data {text!r}: class with too few images: {listed(poor)}; expected at least {at_least} in each, add "
            "images or remove the class"
        )


def hold_out(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Split images into training and validation: the same split for the same labels, every class in the same shares.

    Args:
        labels: (num_images,) class of each image; at least two images per class.

    Returns:
        (num_train,) and (num_validation,) ascending indices; each holds at least one image of every class.
    """
    rng = np.random.default_rng(0)
    validation = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        validation.append(
            rng.choice(members, min(max(1, round(share * len(members))), len(members) - 1), replace=False)
        )
    held_out = np.sort(np.concatenate(validation))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def evenly(items: Sequence[T], count: int) -> list[T]:
    """`count` of the items at even distances, the first included; all of them if there are no more."""
    return list(items) if len(items) <= count else [items[index * len(items) // count] for index in range(count)]


def content_sample(files: Sequence[Path], sizes: Sequence[int]) -> Iterator[bytes]:
    """SHA-256 of the contents of all files, if they are small together; otherwise of the beginnings of an even sample
    of them."""
    small = sum(sizes) <= HASHED_BYTES
    for file in files if small else evenly(files, HASHED_BYTES // CHUNK_BYTES):
        with file.open("rb") as stream:
            yield hashlib.sha256(stream.read() if small else stream.read(CHUNK_BYTES)).digest()


def image_size_for(sizes: Sequence[tuple[int, int]]) -> int:
    """Side at which images of these (width, height) are searched: the median shorter side, as a multiple of 32 from 32
    to 128.

    More would make a proxy dear.
    """
    return min(128, max(32, median_low([min(size) for size in sizes]) // 32 * 32))


def plain_name(text: str) -> str:
    """A part of a study's name: letters, digits, dots, underscores and dashes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-") or "images"


def plain_text(name: str) -> str:
    """A name as every file, database and terminal takes it: one that holds anything unprintable is escaped."""
    return name if name.isprintable() else ascii(name)[1:-1]
