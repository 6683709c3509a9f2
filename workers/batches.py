"""Batches of images for training and validation, ready on the device."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from workers.recipe import Recipe

Batch = tuple[Tensor, Tensor]
"""Images (batch, channels, height, width) float32, normalised; labels (batch,) int64."""


class Batches(ABC):
    """Training and validation images of one data source on one device."""

    @abstractmethod
    def train(self, seed: int) -> Iterator[Batch]:
        """Endless, augmented; every epoch in a new order that depends on the seed only. Batches of equal size."""

    @property
    @abstractmethod
    def num_validation(self) -> int:
        """Batches that `validation` gives."""

    @abstractmethod
    def validation(self) -> Iterator[Batch]:
        """Every validation image once, unchanged, always in the same order."""


class TensorBatches(Batches):
    """Both splits as uint8 tensors on the device: for sets that fit in memory.

    Args:
        train, validation: images (num, channels, height, width) uint8 and labels (num,) int64.
        mean, std: per channel, of images scaled to [0, 1].
    """

    def __init__(
        self,
        train: Batch,
        validation: Batch,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        recipe: Recipe,
        device: torch.device,
    ) -> None:
        self._train = (train[0].to(device), train[1].to(device))
        self._validation = (validation[0].to(device), validation[1].to(device))
        self._scale = (255.0 * torch.tensor(std, device=device)).view(1, -1, 1, 1)
        self._offset = (255.0 * torch.tensor(mean, device=device)).view(1, -1, 1, 1)
        self._recipe = recipe
        self._validation_batch = max(256, recipe.batch_size)

    def train(self, seed: int) -> Iterator[Batch]:
        images, labels = self._train
        batch_size = min(self._recipe.batch_size, len(labels))
        # On the CPU, so that a seed gives the same order on every device.
        generator = torch.Generator().manual_seed(seed)
        while True:
            order = torch.randperm(len(labels), generator=generator)
            for start in range(0, len(labels) - batch_size + 1, batch_size):
                chosen = order[start : start + batch_size].to(labels.device)
                yield self._normalise(self._augment(images[chosen], generator)), labels[chosen]

    @property
    def num_validation(self) -> int:
        return math.ceil(len(self._validation[1]) / self._validation_batch)

    def validation(self) -> Iterator[Batch]:
        images, labels = self._validation
        for start in range(0, len(labels), self._validation_batch):
            chosen = slice(start, start + self._validation_batch)
            yield self._normalise(images[chosen]), labels[chosen]

    def _normalise(self, images: Tensor) -> Tensor:
        return (images.float() - self._offset) / self._scale

    def _augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if self._recipe.horizontal_flip:
            mirrored = torch.rand(len(images), generator=generator).to(images.device) < 0.5
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
        return shift(images, self._recipe.max_shift, generator) if self._recipe.max_shift else images


def shift(images: Tensor, max_shift: int, generator: torch.Generator) -> Tensor:
    """Translate every image by up to max_shift pixels in each direction; what comes in from outside is zero.

    Args:
        images: (num, channels, height, width).

    Returns:
        The same shape.
    """
    num, _, height, width = images.shape
    offset = torch.randint(2 * max_shift + 1, (2, num, 1), generator=generator).to(images.device)
    padded = torch.nn.functional.pad(images, [max_shift] * 4)
    rows = offset[0] + torch.arange(height, device=images.device)
    columns = offset[1] + torch.arange(width, device=images.device)
    picked = padded[torch.arange(num, device=images.device)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2).contiguous()
