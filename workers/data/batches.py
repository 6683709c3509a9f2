"""Batches of images for training and validation, ready on the device."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, pad

from workers.data.source import DataSource
from workers.recipe import Recipe

Batch = tuple[Tensor, Tensor]
"""Images (batch, channels, height, width) float32, normalised; labels (batch,) int64."""

MIN_VALIDATION_BATCH = 256
"""Validation keeps no activations, so it can afford larger batches than the training."""


class Batches(ABC):
    """Training and validation images of one data source on one device."""

    @abstractmethod
    def train(self, seed: int) -> Iterator[Batch]:
        """Endless, augmented, in an order that depends on the seed only; every image once per epoch. Batches of equal
        size."""

    @property
    @abstractmethod
    def num_validation(self) -> int:
        """Batches that `validation` gives."""

    @abstractmethod
    def validation(self) -> Iterator[Batch]:
        """Every validation image once, unchanged, always in the same order."""


def validation_transform(source: DataSource) -> Callable[[Image.Image], Tensor]:
    """What timm does by the configuration of an exported network, up to the normalisation.

    Returns:
        An image of any size, in the mode of the data -> (channels, size, size) uint8.
    """
    from timm.data.transforms_factory import create_transform  # here, because timm takes seconds; digits need it not

    transform: Callable[[Image.Image], Tensor] = create_transform(
        source.input_shape,
        interpolation=source.interpolation,
        mean=source.mean,
        crop_pct=source.crop_pct,
        crop_mode=source.crop_mode,
        normalize=False,
    )
    return transform


class Preprocess:
    """From stored images, (num, channels, side, side) uint8, to what the model sees: augmented for training, and
    normalised. Those for validation come at their size.

    Works on whole batches on the device, with random numbers from the CPU, so a seed gives the same augmentation
    everywhere.

    Args:
        cropped: whether training images come cut and mirrored by the recipe already.
    """

    def __init__(self, source: DataSource, recipe: Recipe, device: torch.device, *, cropped: bool = False) -> None:
        self._size = source.image_size
        self._device = device
        self._mean = torch.tensor(source.mean, device=device).view(1, -1, 1, 1)
        self._std = torch.tensor(source.std, device=device).view(1, -1, 1, 1)
        self._recipe = replace(recipe, min_crop_area=1.0, horizontal_flip=False) if cropped else recipe
        self._training_size = recipe.training_size(source.image_size)
        self._scale = 255.0 * self._std
        self._offset = 255.0 * self._mean

    def training(self, images: Tensor, generator: torch.Generator) -> Tensor:
        recipe = self._recipe
        images = images.to(self._device, non_blocking=True)
        mirrored = torch.rand(len(images), generator=generator) < 0.5 if recipe.horizontal_flip else None
        crops = recipe.min_crop_area < 1
        if mirrored is not None and not crops:  # a crop mirrors without further work
            images = torch.where(mirrored.to(self._device).view(-1, 1, 1, 1), images.flip(-1), images)
        if recipe.max_shift:
            images = shift(images, recipe.max_shift, generator)
        if crops:
            return self._normalise(
                random_resized_crop(images, self._training_size, recipe.min_crop_area, generator, mirrored)
            )
        if images.shape[-1] != self._training_size:  # else they were cropped before
            images = self._centre(images)
        if images.shape[-1] != self._training_size:
            images = interpolate(images.float(), (self._training_size,) * 2, mode="bilinear", antialias=True)
        return self._normalise(images)

    def validation(self, images: Tensor) -> Tensor:
        """In the order of timm's operations, which gives the same bits."""
        images = images.to(self._device, torch.float32, non_blocking=True, memory_format=torch.contiguous_format)
        return images.div_(255).sub_(self._mean).div_(self._std)

    def _centre(self, images: Tensor) -> Tensor:
        margin = (images.shape[-1] - self._size) // 2
        return images[..., margin : margin + self._size, margin : margin + self._size]

    def _normalise(self, images: Tensor) -> Tensor:
        # Channels first, because over three channels at the end no loop is worth a vector; in place, because fresh
        # memory costs more than the arithmetic. Bytes are copied here, and floats come from a crop of our own.
        return images.to(torch.float32, memory_format=torch.contiguous_format).sub_(self._offset).div_(self._scale)


class TensorBatches(Batches):
    """Both splits as uint8 tensors on the device: for sets that fit in memory.

    Args:
        train, validation: images (num, channels, side, side) uint8 and labels (num,) int64; those for validation are
            of the size that the model sees.
    """

    def __init__(
        self, train: Batch, validation: Batch, source: DataSource, recipe: Recipe, device: torch.device
    ) -> None:
        self._train = (train[0].to(device), train[1].to(device))
        self._validation = (validation[0].to(device), validation[1].to(device))
        self._preprocess = Preprocess(source, recipe, device)
        self._batch_size = min(recipe.batch_size, len(train[1]))
        self._validation_batch = max(MIN_VALIDATION_BATCH, recipe.batch_size)

    def train(self, seed: int) -> Iterator[Batch]:
        images, labels = self._train
        generator = torch.Generator().manual_seed(seed)
        for chosen in endless_batches(len(labels), self._batch_size, generator, labels.device):
            yield self._preprocess.training(images[chosen], generator), labels[chosen]

    @property
    def num_validation(self) -> int:
        return math.ceil(len(self._validation[1]) / self._validation_batch)

    def validation(self) -> Iterator[Batch]:
        return in_order(*self._validation, self._preprocess, self._validation_batch)


def in_order(
    images: Tensor, labels: Tensor, preprocess: Preprocess, batch_size: int = MIN_VALIDATION_BATCH
) -> Iterator[Batch]:
    """Every image once, unchanged, on the device of the preprocessing."""
    for start in range(0, len(labels), batch_size):
        batch = preprocess.validation(images[start : start + batch_size])
        yield batch, labels[start : start + batch_size].to(batch.device)


def endless_batches(
    num: int, batch_size: int, generator: torch.Generator, device: torch.device | None = None
) -> Iterator[Tensor]:
    """Indices (batch_size,) into `num` images, epoch after epoch; what does not fill a batch at the end of an epoch is
    left out of it.

    Args:
        device: where the indices are wanted, the CPU by default; those of an epoch go there together.
    """
    while True:
        order = torch.randperm(num, generator=generator).to(device or "cpu")
        for start in range(0, num - batch_size + 1, batch_size):
            yield order[start : start + batch_size]


def shift(images: Tensor, max_shift: int, generator: torch.Generator) -> Tensor:
    """Translate every image by up to max_shift pixels in each direction; what comes in from outside is zero.

    Args:
        images: (num, channels, height, width).

    Returns:
        The same shape.
    """
    num, _, height, width = images.shape
    offset = torch.randint(2 * max_shift + 1, (2, num, 1), generator=generator).to(images.device)
    rows = offset[0] + torch.arange(height, device=images.device)
    columns = offset[1] + torch.arange(width, device=images.device)
    which = torch.arange(num, device=images.device)[:, None, None]
    return pad(images, [max_shift] * 4)[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def random_rectangles(height_to_width_N: Tensor, min_area: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rectangles of min_area to 1 of an image's area, of an aspect ratio from 3/4 to 4/3, anywhere within the image.

    Args:
        height_to_width_N: (num,) ratios of the images' sides.

    Returns:
        Width and height as shares of the image's, and the centre from -1 (left, top) to 1, each (num, 2).

    Source: Szegedy et al., "Going Deeper with Convolutions".
    """
    num = len(height_to_width_N)
    area = min_area + (1 - min_area) * torch.rand(num, generator=generator)
    aspect = torch.exp(math.log(4 / 3) * (2 * torch.rand(num, generator=generator) - 1)) * height_to_width_N
    extent = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=1).clamp(max=1.0)
    return extent, (1 - extent) * (2 * torch.rand(num, 2, generator=generator) - 1)


def random_resized_crop(
    images: Tensor, size: int, min_area: float, generator: torch.Generator, mirrored: Tensor | None = None
) -> Tensor:
    """Cut a random rectangle out of every image and resize it bilinearly.

    Args:
        images: (num, channels, side, side), uint8 or float.
        mirrored: (num,) bool, on the CPU: which images are mirrored first; none by default.

    Returns:
        (num, channels, size, size) float32, in memory of its own.
    """
    num = len(images)
    extent, centre = random_rectangles(torch.ones(num), min_area, generator)
    # What affine_grid computes, which takes four times as long as the resizing itself: an upright rectangle needs no
    # matrix per point.
    points = extent[:, :, None] * ((2 * torch.arange(size) + 1) / size - 1) + centre[:, :, None]
    columns, rows = points.unbind(1)
    if mirrored is not None:
        columns = torch.where(mirrored[:, None], -columns, columns)
    columns = columns.to(images.device)
    rows = rows.to(images.device)
    grid = torch.stack([columns[:, None, :].expand(num, size, size), rows[:, :, None].expand(num, size, size)], dim=-1)
    images = images.to(torch.float32, memory_format=torch.contiguous_format)
    return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
