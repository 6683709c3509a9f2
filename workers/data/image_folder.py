"""`folder:DIR`: train/ and val/, and test/ if there is one, each with one folder of images per class."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import v2

from nas.errors import InvalidInputError
from workers.data.batches import MIN_VALIDATION_BATCH, Batch, Batches, Preprocess, TensorBatches, endless_batches
from workers.data.source import (
    HASHED_BYTES,
    DataSource,
    LabelledImages,
    content_sample,
    evenly,
    fingerprint,
    image_size_for,
    plain_name,
    require_classes,
    stored_size,
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
MEMORY_BYTES = 512 * 2**20
"""A set whose decoded images fit into this is decoded once and kept."""

Item = tuple[Path, int]
"""Path and class of one image."""
Size = tuple[int, int]
"""Width and height, pixels."""


def open_folder(text: str, path: str) -> DataSource:
    """List the images, read all headers, decode a sample.

    Raises:
        InvalidInputError: if a folder is missing, the splits differ in their classes, a class is empty or an image
            cannot be read.
    """
    root = Path(path).expanduser()
    names, listing = _list(text, root)
    items = listing["train"] + listing["val"]
    sizes = _check_images(text, [file for file, _ in items])
    return DataSource(
        text=text,
        kind="folder",
        name=f"folder-{plain_name(root.resolve().name)}",
        num_classes=len(names),
        in_chans=3,
        image_size=image_size_for(sizes),
        mean=IMAGENET_DEFAULT_MEAN,
        std=IMAGENET_DEFAULT_STD,
        num_train=len(listing["train"]),
        num_validation=len(listing["val"]),
        num_test=len(_list_test(text, root, names)),
        fingerprint=_fingerprint(root, [file for file, _ in items]),
    )


def load_folder(source: DataSource, recipe: Recipe, device: torch.device) -> Batches:
    """The images in memory if they fit there, otherwise read anew in every epoch."""
    _, listing = _list(source.text, Path(source.text.partition(":")[2]).expanduser())
    side = stored_size(source.image_size)
    train, validation = (_Images(listing[split], side) for split in SPLITS)
    if (len(train) + len(validation)) * 3 * side**2 > MEMORY_BYTES:
        return FolderBatches(train, validation, source, recipe, device)
    return TensorBatches(train.decode_all(), validation.decode_all(), source, recipe, device)


def folder_test(source: DataSource, recipe: Recipe, device: torch.device) -> Iterator[Batch]:
    """The images of test/, read as they are needed."""
    root = Path(source.text.partition(":")[2]).expanduser()
    names, _ = _list(source.text, root)
    images = _Images(_list_test(source.text, root, names), stored_size(source.image_size))
    return FolderBatches(images, images, source, recipe, device).validation()


def folder_images(text: str, path: str) -> LabelledImages:
    """The images as their files hold them.

    Raises:
        InvalidInputError: if a folder is missing, the splits differ in their classes or a class is empty.
    """
    names, listing = _list(text, Path(path).expanduser())
    items = listing["train"] + listing["val"]

    def read(index: int) -> np.ndarray:
        with _opened(items[index][0]) as image:
            return np.asarray(_as_rgb(image))

    return LabelledImages(
        class_names=tuple(names),
        labels=np.array([label for _, label in items], dtype=np.int64),
        num_train=len(listing["train"]),
        name_of=lambda index: str(items[index][0]),
        read=read,
    )


class _Images(Dataset[tuple[Tensor, int]]):
    """Decoded images, (3, side, side) uint8: the shorter side resized to `side`, the centre cut out."""

    def __init__(self, items: Sequence[Item], side: int) -> None:
        self.items = items
        self._transform = v2.Compose([v2.Resize(side, antialias=True), v2.CenterCrop(side), v2.PILToTensor()])

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.items[index]
        with _opened(path) as image:
            pixels: Tensor = self._transform(_as_rgb(image))
        return pixels, label

    def decode_all(self) -> Batch:
        with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
            images = torch.stack([pixels for pixels, _ in pool.map(self.__getitem__, range(len(self)))])
        return images, torch.tensor([label for _, label in self.items])


class _EndlessOrder(Sampler[list[int]]):
    """Batches of indices, epoch after epoch."""

    def __init__(self, num: int, batch_size: int, seed: int) -> None:
        self._arguments = num, batch_size, seed

    def __iter__(self) -> Iterator[list[int]]:
        num, batch_size, seed = self._arguments
        for chosen in endless_batches(num, batch_size, torch.Generator().manual_seed(seed)):
            yield chosen.tolist()


class FolderBatches(Batches):
    """Images read from files as they are needed.

    On a GPU, as many processes as torch has threads decode ahead. On a CPU nothing is decoded ahead: the device lock
    covers the decoding.
    """

    def __init__(
        self, train: _Images, validation: _Images, source: DataSource, recipe: Recipe, device: torch.device
    ) -> None:
        self._train = train
        self._validation = validation
        self._preprocess = Preprocess(source, recipe, device)
        self._device = device
        self._batch_size = min(recipe.batch_size, len(train))
        self._validation_batch = max(MIN_VALIDATION_BATCH, recipe.batch_size)
        self._processes = torch.get_num_threads() if device.type == "cuda" else 0

    def train(self, seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        order = _EndlessOrder(len(self._train), self._batch_size, seed)
        for images, labels in self._loader(self._train, order):
            yield self._preprocess.training(images, generator), labels.to(self._device)

    @property
    def num_validation(self) -> int:
        return ceil(len(self._validation) / self._validation_batch)

    def validation(self) -> Iterator[Batch]:
        everything = range(len(self._validation))
        starts = everything[:: self._validation_batch]
        order = [list(everything[start : start + self._validation_batch]) for start in starts]
        for images, labels in self._loader(self._validation, order):
            yield self._preprocess.validation(images), labels.to(self._device)

    def _loader(
        self, images: _Images, order: Sampler[list[int]] | Sequence[list[int]]
    ) -> DataLoader[tuple[Tensor, int]]:
        # A generator of its own: by default a loader draws its base seed from torch's global one, which belongs to the
        # training.
        return DataLoader(
            images,
            batch_sampler=order,
            num_workers=self._processes,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),
        )


def _list(text: str, root: Path) -> tuple[list[str], dict[str, list[Item]]]:
    """Class names, and the images of both splits by class and name."""
    found = {split: _class_folders(text, root / split) for split in SPLITS}
    names, others = (sorted(found[split]) for split in SPLITS)
    if names != others:
        only = sorted(set(names) ^ set(others))
        raise InvalidInputError(
            f"data {text!r}: train/ and val/ differ in their class folders ({', '.join(only[:5])} in one only); "
            "both need the same classes"
        )
    listing = {split: _items(names, found[split]) for split in SPLITS}
    for split, items in listing.items():
        labels = np.array([label for _, label in items], dtype=np.int64)
        require_classes(f"{text} ({split}/)", labels, names, at_least=1)
    return names, listing


def _items(names: Sequence[str], folders: Mapping[str, Path]) -> list[Item]:
    """The images in these folders, by class and name.

    Args:
        folders: name of a class -> its folder; a class may have none.
    """
    items: list[Item] = []
    for label, name in enumerate(names):
        if name in folders:
            items += [(path, label) for path in _image_files(folders[name])]
    return items


def _list_test(text: str, root: Path, names: Sequence[str]) -> list[Item]:
    """The images of test/ by class and name; none if it is missing or has other folders than train/, as one without
    labels has."""
    found = _class_folders(text, root / TEST) if (root / TEST).is_dir() else {}
    if not set(found) <= set(names):
        return []
    return _items(names, found)


def _class_folders(text: str, folder: Path) -> dict[str, Path]:
    try:
        return {
            entry.name: Path(entry.path)
            for entry in os.scandir(folder)
            if entry.is_dir() and not entry.name.startswith(".")
        }
    except OSError as error:
        raise InvalidInputError(
            f"data {text!r}: {folder} cannot be listed ({error.strerror}); expected train/ and val/ with one "
            "folder of images per class"
        ) from error


def _image_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS and path.is_file())


def _check_images(text: str, files: Sequence[Path]) -> list[Size]:
    """Decode all images of a small set, an even sample of a large one, then read all headers; returns the sizes of
    those decoded."""
    sample = files if sum(file.stat().st_size for file in files) <= HASHED_BYTES else evenly(files, SAMPLE)
    with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as pool:
        sizes = list(pool.map(lambda file: _inspect(file, lambda image: image.load()), sample))
        deadline = time.monotonic() + CHECK_S
        checked = 0
        for start in range(0, len(files), 1024):
            if time.monotonic() > deadline:
                logger.warning(
                    "%s: checked %d of %d images in %.0f s, the rest unseen", text, checked, len(files), CHECK_S
                )
                break
            checked += len(list(pool.map(lambda file: _inspect(file, lambda image: None), files[start : start + 1024])))
    return sizes


def _inspect(file: Path, read: Callable[[Image.Image], object]) -> Size:
    with _opened(file) as image:
        read(image)
        return image.size


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """An image of a number format that is understood; what goes wrong while it is read is told with its name."""
    try:
        with Image.open(file) as image:
            if image.mode in ("I", "F"):
                raise ValueError(
                    f"its pixels are numbers of 32 bits, mode {image.mode}, whose range is unknown; expected 8 or "
                    "16 bits"
                )
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidInputError(f"{file} is no readable image ({error}); replace or remove it") from error


def _as_rgb(image: Image.Image) -> Image.Image:
    """8 bits and three channels. Pillow itself would cut 16 bits off at 255, which leaves a white image."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    return image.convert("RGB")


def _fingerprint(root: Path, files: Sequence[Path]) -> str:
    """Over all names and sizes, and the contents: all of them of a small set, an even sample of a large one."""
    names = [file.relative_to(root).as_posix().encode() for file in files]
    sizes = [file.stat().st_size for file in files]
    return fingerprint([*names, repr(sizes).encode(), *content_sample(files, sizes)])
