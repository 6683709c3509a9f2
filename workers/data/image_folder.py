"""`folder:DIR`: train/ and val/, and test/ if there is one, each with one folder of images per class."""

import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nas.errors import InvalidInputError, first_line, listed
from workers.data.batches import Batch, Batches, TensorBatches
from workers.data.cache import FORMAT, current_cache
from workers.data.listing import PassedOver, class_folders, image_files, passed_over_text
from workers.data.source import (
    CROP_PCT,
    HASHED_BYTES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    DataSource,
    LabelledImages,
    content_sample,
    evenly,
    fingerprint,
    image_size_for,
    plain_name,
    plain_text,
    require_classes,
    tell,
)
from workers.data.streamed import (
    UNREADABLE,
    Images,
    StreamedBatches,
    as_rgb,
    fit_in_memory,
    readable,
    require_known_range,
)
from workers.recipe import Recipe

logger = logging.getLogger(__name__)

SPLITS = ("train", "val")
TEST = "test"
"""A folder like the others that may be there; no search reads its images."""
SAMPLE = 256
"""Images of a set above HASHED_BYTES that are decoded wholly when it is opened; of all others the headers are read."""
CHECK_S = 120.0
"""Reading headers stops here; what was not reached is reported in the log, and fails during training if it is
damaged."""
CHUNK = 1024
"""Images checked between two words about the progress."""

Item = tuple[Path, int]
"""Path and class of one image."""
Size = tuple[int, int]
"""Width and height, pixels."""


def open_folder(text: str, path: str) -> DataSource:
    """List the images, read all headers, decode a sample; nothing of that where a cache has noted the same files.

    Raises:
        InvalidInputError: if a folder is missing, the splits differ in their classes, a class is empty or images
            cannot be read.
    """
    root = Path(path)
    listing = _list(text, root)
    state = _state(root, listing)
    source = _noted(state) or _checked(text, root, listing)
    return replace(source, passed_over=passed_over_text(listing.passed_over), state=state)


def _noted(state: str) -> DataSource | None:
    """What a cache has noted of files in this state."""
    cache = current_cache()
    noted = None if cache is None else cache.noted(state)
    if noted is None:
        return None
    try:
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in noted.items()
        }
        return DataSource(**values)
    except (AttributeError, TypeError):  # noted by another version
        return None


def _checked(text: str, root: Path, listing: "_Listing") -> DataSource:
    searched = listing.files("train") + listing.files("val")
    sizes, problems = _check_images(text, searched)
    _require_readable(text, problems + _check_images(text, listing.files(TEST))[1])
    return DataSource(
        text=text,
        kind="folder",
        name=f"folder-{plain_name(root.resolve().name)}",
        num_classes=len(listing.names),
        in_chans=3,
        image_size=image_size_for(sizes),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        crop_pct=CROP_PCT,
        label_names=tuple(map(plain_text, listing.names)),
        num_train=len(listing.items["train"]),
        num_validation=len(listing.items["val"]),
        num_test=len(listing.items[TEST]),
        fingerprint=_fingerprint(root, searched),
    )


def load_folder(source: DataSource, recipe: Recipe, device: torch.device) -> Batches:
    """The images in memory if they fit there, otherwise read anew in every epoch."""
    train, validation, kept = _loaded(source)
    if kept is None:
        return StreamedBatches(train, validation, source, recipe, device)
    return TensorBatches(*kept, source, recipe, device)


def prepare_folder(source: DataSource) -> None:
    """Decode the images into the cache, if they fit into memory, and note that the folder was opened."""
    _loaded(source)


def _loaded(source: DataSource) -> tuple[Images, Images, tuple[Batch, Batch] | None]:
    """The images for training and validation, and all of them decoded if they fit into memory."""
    listing = _list_source(source)
    train = _images(listing.items["train"], source.stored)
    validation = _images(listing.items["val"], source)
    cache = current_cache()
    if cache is not None and source.state:
        cache.note(source.state, asdict(source))
    if not fit_in_memory(train, validation):
        return train, validation, None
    root = Path(source.text.partition(":")[2])
    searched = listing.files("train") + listing.files("val")
    # The fingerprint covers the contents of a small set only.
    contents = "" if _is_small(searched) else source.state

    def unchanged() -> bool:
        return _state(root, _list_source(source)) == source.state

    of_train = train.decode_all("train", contents, unchanged)
    of_validation = validation.decode_all("val", contents, unchanged)
    return train, validation, (of_train, of_validation)


def folder_test(source: DataSource, recipe: Recipe, device: torch.device) -> Iterator[Batch]:
    """The images of test/, read as they are needed."""
    images = _images(_list_source(source).items["test"], source)
    return StreamedBatches(images, images, source, recipe, device).validation()


def folder_images(text: str, path: str) -> LabelledImages:
    """The images as their files hold them.

    Raises:
        InvalidInputError: if a folder is missing, the splits differ in their classes, a class is empty or images
            cannot be read.
    """
    listing = _list(text, Path(path))
    items = listing.items["train"] + listing.items["val"]
    _require_readable(text, _check_images(text, [file for file, _ in items])[1])
    return LabelledImages(
        class_names=tuple(listing.names),
        labels=np.array([label for _, label in items], dtype=np.int64),
        num_train=len(listing.items["train"]),
        name_of=lambda index: str(items[index][0]),
        read=lambda index: np.asarray(_read(items, index)),
        passed_over=passed_over_text(listing.passed_over),
    )


@dataclass(frozen=True, slots=True)
class _Listing:
    """What the folders hold."""

    names: list[str]
    """Names of the classes, in the order of the labels."""
    items: dict[str, list[Item]]
    """Split -> its images, by class and name."""
    passed_over: PassedOver
    """What else lies there."""

    def files(self, split: str) -> list[Path]:
        return [file for file, _ in self.items[split]]


def _list_source(source: DataSource) -> _Listing:
    return _list(source.text, Path(source.text.partition(":")[2]))


def _list(text: str, root: Path) -> _Listing:
    """Raises InvalidInputError for folders from which nothing can be learnt."""
    passed_over = PassedOver()
    try:
        found = {split: class_folders(root / split, passed_over) for split in SPLITS}
        names, others = (sorted(found[split]) for split in SPLITS)
        if names != others:
            only = sorted(set(names) ^ set(others))
            raise InvalidInputError(
                f"data {text!r}: train/ and val/ differ in their class folders ({listed(only)} in one only); "
                "both need the same classes"
            )
        items = {split: _items(names, found[split], passed_over) for split in SPLITS}
        items[TEST] = _list_test(root / TEST, names, passed_over)
    except OSError as error:
        raise InvalidInputError(
            f"data {text!r}: {error.filename} cannot be listed ({error.strerror}); expected train/ and val/ with one "
            "folder of images per class"
        ) from error
    for split in SPLITS:
        labels = np.array([label for _, label in items[split]], dtype=np.int64)
        require_classes(f"{text} ({split}/)", labels, names, at_least=1)
    return _Listing(names, items, passed_over)


def _items(names: Sequence[str], folders: Mapping[str, Path], passed_over: PassedOver) -> list[Item]:
    """The images in these folders, by class and name.

    Args:
        folders: name of a class -> its folder; a class may have none.
    """
    items: list[Item] = []
    for label, name in enumerate(names):
        if name in folders:
            items += [(path, label) for path in image_files(folders[name], passed_over)]
            tell("listing", len(items), 0)
    return items


def _list_test(folder: Path, names: Sequence[str], passed_over: PassedOver) -> list[Item]:
    """The images of test/ by class and name; none if it is missing or has other folders than train/, as one without
    labels has."""
    beside = PassedOver()
    found = class_folders(folder, beside) if folder.is_dir() else {}
    if not set(found) <= set(names):
        return []
    passed_over.update(beside)
    return _items(names, found, passed_over)


def _check_images(text: str, files: Sequence[Path]) -> tuple[list[Size], list[str]]:
    """Decode all images of a small set, an even sample of a large one, then read all headers.

    Returns:
        The sizes of those decoded, and what is wrong with each that cannot be read.
    """
    is_small = _is_small(files)
    decoded = dict(_inspected(text, files if is_small else evenly(files, SAMPLE), whole=True))
    headers = {} if is_small else dict(_inspected(text, files, whole=False))
    problems = [found for found in {**headers, **decoded}.values() if isinstance(found, str)]
    return [found for found in decoded.values() if not isinstance(found, str)], problems


def _is_small(files: Sequence[Path]) -> bool:
    """Whether all contents enter the fingerprint."""
    return sum(file.stat().st_size for file in files) <= HASHED_BYTES


def _inspected(text: str, files: Sequence[Path], *, whole: bool) -> Iterator[tuple[Path, Size | str]]:
    """Each file with what `_inspect` finds; headers for at most CHECK_S."""
    deadline = time.monotonic() + (math.inf if whole else CHECK_S)
    with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as pool:
        for start in range(0, len(files), CHUNK):
            if time.monotonic() > deadline:
                logger.warning(
                    "%s: checked %d of %d images in %.0f s, the rest unseen", text, start, len(files), CHECK_S
                )
                return
            some = files[start : start + CHUNK]
            yield from zip(some, pool.map(partial(_inspect, whole=whole), some), strict=True)
            tell("checking", start + len(some), len(files))


def _inspect(file: Path, whole: bool) -> Size | str:
    """The size of an image, or why it cannot be read."""
    try:
        with Image.open(file) as image:
            require_known_range(image)
            if whole:
                image.load()
            return image.size
    except UNREADABLE as error:
        return f"{file} is no readable image ({first_line(error)})"


def _require_readable(text: str, problems: Sequence[str]) -> None:
    """Raises InvalidInputError that names the first few and counts all."""
    if len(problems) == 1:
        raise InvalidInputError(f"data {text!r}: {problems[0]}; replace or remove it")
    if problems:
        raise InvalidInputError(
            f"data {text!r}: {len(problems):,} images cannot be read: {listed(problems, '; ')}; replace or remove them"
        )


def _images(items: Sequence[Item], source: DataSource) -> Images:
    return Images(partial(_read, items), [label for _, label in items], source)


def _read(items: Sequence[Item], index: int) -> Image.Image:
    file, _ = items[index]
    with readable(str(file)), Image.open(file) as image:
        require_known_range(image)
        return as_rgb(image)


def _fingerprint(root: Path, files: Sequence[Path]) -> str:
    """Over all names and sizes, and the contents: all of them of a small set, an even sample of a large one."""
    names = [os.fsencode(file.relative_to(root).as_posix()) for file in files]
    sizes = [file.stat().st_size for file in files]
    return fingerprint([*names, repr(sizes).encode(), *content_sample(files, sizes)])


def _state(root: Path, listing: _Listing) -> str:
    """Over what the kernel changes when anybody writes to, replaces or renames a file."""
    parts = [str(FORMAT).encode(), os.fsencode(root), repr(listing.names).encode()]
    for split in (*SPLITS, TEST):
        for file in listing.files(split):
            found = file.stat()
            told = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
            parts.append(os.fsencode(file.relative_to(root)) + repr(told).encode())
    return fingerprint(parts)
