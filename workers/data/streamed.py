"""Images that are decoded one by one: kept in memory where they fit, otherwise read anew in every epoch."""

import math
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nas.errors import InvalidInputError
from workers.data.batches import MIN_VALIDATION_BATCH, Batch, Batches, Preprocess, endless_batches, validation_transform
from workers.data.cache import ImageSet, decoded, pixel_versions
from workers.data.source import DataSource, tell
from workers.recipe import Recipe

MEMORY_BYTES = 512 * 2**20
"""A set whose decoded images fit into this is decoded once and kept."""
UNREADABLE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    Image.DecompressionBombError,
    LookupError,
    NotImplementedError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What Pillow raises for files that are no images of a kind it knows, or are damaged."""


class Images(Dataset[tuple[Tensor, int]]):
    """Decoded images, (channels, side, side) uint8, with their labels.

    Args:
        read: index -> image in the mode of the data; it crosses processes.
        labels: one per image.
        source: says to which size they are brought, and how.
    """

    def __init__(self, read: Callable[[int], Image.Image], labels: Sequence[int], source: DataSource) -> None:
        self._read = read
        self._source = source
        self._transform = validation_transform(source)
        self.labels = labels
        self.num_bytes = len(labels) * math.prod(source.input_shape)
        """All of them decoded."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._read(index)), int(self.labels[index])

    def decode_all(self, split: str, contents: str = "", unchanged: Callable[[], bool] = lambda: True) -> Batch:
        """(num, channels, side, side) uint8 images, and (num,) int64 labels; from the cache where they are kept.

        Args:
            split: name of these images among those of the data.
            contents: what tells other contents apart where the fingerprint does not cover them all.
            unchanged: whether the files are still those that were opened.
        """
        return decoded(self._whole(split, contents, unchanged))

    def _whole(self, split: str, contents: str, unchanged: Callable[[], bool]) -> ImageSet:
        source = self._source
        shape = (len(self), *source.input_shape)
        about = {
            "fingerprint": source.fingerprint,
            "contents": contents,
            "split": split,
            "shape": list(shape),
            "interpolation": source.interpolation,
            "crop_pct": source.crop_pct,
            "crop_mode": source.crop_mode,
            "mean": list(source.mean),
            **pixel_versions(),
        }
        return ImageSet(about=about, shape=shape, decode=self._each, unchanged=unchanged)

    def _each(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
            for done, (image, label) in enumerate(pool.map(self.__getitem__, range(len(self))), start=1):
                yield image[None], torch.tensor([label])
                tell("decoding", done, len(self))


class StreamedBatches(Batches):
    """Images read as they are needed.

    On a GPU, as many processes as torch has threads decode ahead. On a CPU nothing is decoded ahead: the device lock
    covers the decoding.
    """

    def __init__(
        self, train: Images, validation: Images, source: DataSource, recipe: Recipe, device: torch.device
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
        return math.ceil(len(self._validation) / self._validation_batch)

    def validation(self) -> Iterator[Batch]:
        everything = range(len(self._validation))
        starts = everything[:: self._validation_batch]
        order = [list(everything[start : start + self._validation_batch]) for start in starts]
        for images, labels in self._loader(self._validation, order):
            yield self._preprocess.validation(images), labels.to(self._device)

    def _loader(
        self, images: Images, order: Sampler[list[int]] | Sequence[list[int]]
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


class _EndlessOrder(Sampler[list[int]]):
    """Batches of indices, epoch after epoch."""

    def __init__(self, num: int, batch_size: int, seed: int) -> None:
        self._arguments = num, batch_size, seed

    def __iter__(self) -> Iterator[list[int]]:
        num, batch_size, seed = self._arguments
        for chosen in endless_batches(num, batch_size, torch.Generator().manual_seed(seed)):
            yield chosen.tolist()


def fit_in_memory(*sets: Images) -> bool:
    """Whether all of them may be kept decoded."""
    return sum(images.num_bytes for images in sets) <= MEMORY_BYTES


@contextmanager
def readable(name: str) -> Iterator[None]:
    """What goes wrong while an image is decoded is told with its name.

    Raises:
        InvalidInputError: in place of what Pillow raises.
    """
    try:
        yield
    except UNREADABLE as error:
        raise InvalidInputError(f"{name} is no readable image ({error}); replace or remove it") from error


def require_known_range(image: Image.Image) -> None:
    """Refuse pixels of which nobody knows what is black and what is white.

    Raises:
        ValueError: if they are numbers of 32 bits.
    """
    if image.mode in ("I", "F"):
        raise ValueError(
            f"its pixels are numbers of 32 bits, mode {image.mode}, whose range is unknown; expected 8 or 16 bits"
        )


def as_rgb(image: Image.Image) -> Image.Image:
    """8 bits and three channels. Pillow itself would cut 16 bits off at 255, which leaves a white image."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    return image.convert("RGB")
