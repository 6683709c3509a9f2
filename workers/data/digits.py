"""`digits`: scikit-learn's 1,797 handwritten digits on cluttered 32 x 32 canvases, a data set that needs no download.

Each canvas shows one whole digit (its label) at a random place, size and slant, and dimmer fragments of other digits.
Strokes and junctions are local; which strokes belong to the whole digit, wherever it stands, is decided by context. The
*source images* are split first, so no handwritten digit is in two splits, neither whole nor as a fragment.
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from workers.data.batches import Batch, Preprocess, TensorBatches, in_order
from workers.data.outline import DIGITS, IMAGE_SIZE, NUM_CANVASES, NUM_CLASSES, NUM_TEST, Split
from workers.data.source import DataSource, fingerprint
from workers.recipe import Recipe

SOURCE_SHARES: dict[Split, float] = {"train": 0.6, "validation": 0.2, "test": 0.2}
"""Share of the source images of every class; validation and test need many writers, or their canvases repeat a few
hands."""


@dataclass(kw_only=True, frozen=True, slots=True)
class CanvasStyle:
    """How hard the canvases are. The defaults were chosen by measurement, see docs/measurements/proxy.md."""

    num_fragments: int = 2
    """Fragments of other digits on each canvas."""
    fragment_brightness: float = 0.6
    """Brightness of a fragment, relative to the digit."""
    digit_pixels: tuple[float, float] = (15.0, 23.0)
    """Smallest and largest side of the digit's 8 x 8 source image on the canvas."""
    max_shear: float = 0.2
    """Largest horizontal shear (slant) of a digit or fragment."""
    noise: float = 0.05
    """Standard deviation of the pixel noise; full brightness is 1."""


@dataclass(frozen=True, slots=True)
class Canvases:
    """One split, generated."""

    images: Tensor
    """(num_canvases, 1, side, side) uint8."""
    labels: Tensor
    """(num_canvases,) int64."""


@lru_cache(maxsize=1)
def _sources() -> tuple[Tensor, Tensor]:
    """All source images, (1797, 1, 8, 8) float in [0, 1], and their labels, (1797,)."""
    table = _table()
    images = torch.from_numpy(table[:, :-1].reshape(-1, 1, 8, 8) / 16.0).float()
    return images, torch.from_numpy(table[:, -1]).long()


def _table() -> np.ndarray:
    """A row per source image: its 64 pixels from 0 to 16, and its label.

    The file is read where scikit-learn has it, because importing scikit-learn takes a second in each process.
    """
    package = importlib.util.find_spec("sklearn")
    assert package is not None and package.origin is not None, "scikit-learn is installed with us"
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    return np.loadtxt(file, delimiter=",")


@lru_cache(maxsize=8)
def source_split(seed: int = 0) -> dict[Split, np.ndarray]:
    """Indices into scikit-learn's digits for each split: disjoint, together all, every class in the same shares."""
    rng = np.random.default_rng(seed)
    labels = _sources()[1].numpy()
    parts: dict[Split, list[np.ndarray]] = {split: [] for split in SOURCE_SHARES}
    bounds = np.cumsum(list(SOURCE_SHARES.values()))[:-1]
    for digit in range(NUM_CLASSES):
        members = rng.permutation(np.flatnonzero(labels == digit))
        for split, part in zip(parts, np.split(members, np.round(bounds * len(members)).astype(int)), strict=True):
            parts[split].append(part)
    return {split: np.sort(np.concatenate(chunks)) for split, chunks in parts.items()}


@lru_cache(maxsize=8)
def make_canvases(split: Split, num_canvases: int, seed: int = 0, style: CanvasStyle | None = None) -> Canvases:
    """Generate the canvases of one split, the same ones for the same arguments; kept for the life of the process.

    Classes are balanced to one canvas. Do not write into the result.
    """
    style = style or CanvasStyle()
    images, labels = _sources()
    pool = torch.from_numpy(source_split(seed)[split])
    generator = torch.Generator().manual_seed(seed * len(SOURCE_SHARES) + list(SOURCE_SHARES).index(split))
    shown = pool[_balanced_choice(labels[pool], num_canvases, generator)]
    canvas = _place(images[shown], style, generator, anywhere=False)
    for _ in range(style.num_fragments):
        other = pool[torch.randint(len(pool), (num_canvases,), generator=generator)]
        fragment = images[other] * _fragment_mask(num_canvases, generator)
        canvas = torch.maximum(canvas, style.fragment_brightness * _place(fragment, style, generator, anywhere=True))
    canvas += style.noise * torch.randn(canvas.shape, generator=generator)
    return Canvases((canvas.clamp_(0, 1) * 255).round_().to(torch.uint8), labels[shown])


def _balanced_choice(labels: Tensor, num_canvases: int, generator: torch.Generator) -> Tensor:
    """Positions into `labels` so that every class is drawn equally often, in random order."""
    wanted = torch.arange(num_canvases) % NUM_CLASSES
    wanted = wanted[torch.randperm(num_canvases, generator=generator)]
    return _members(labels, wanted, generator)


def _members(labels: Tensor, wanted: Tensor, generator: torch.Generator) -> Tensor:
    """Positions into `labels`, a random one for each class wanted, in the shape of `wanted`."""
    order = torch.argsort(labels, stable=True)
    counts = torch.bincount(labels, minlength=NUM_CLASSES)
    starts = counts.cumsum(0) - counts
    within = (torch.rand(wanted.shape, generator=generator) * counts[wanted]).long()
    return order[starts[wanted] + within]


def handwritten(classes: Tensor, split: Split, generator: torch.Generator) -> Tensor:
    """A random source image of the split for each class: (...) int64 -> (..., 8, 8) float in [0, 1]."""
    images, labels = _sources()
    pool = torch.from_numpy(source_split()[split])
    return images[pool[_members(labels[pool], classes, generator)], 0]


def _fragment_mask(num_canvases: int, generator: torch.Generator) -> Tensor:
    """(num_canvases, 1, 8, 8): keeps the part of a source image on one side of a random line through its middle."""
    angle = 2 * torch.pi * torch.rand(num_canvases, 1, 1, 1, generator=generator)
    axis = torch.arange(8) - 3.5
    side = torch.cos(angle) * axis.view(1, 1, 1, 8) + torch.sin(angle) * axis.view(1, 1, 8, 1)
    return (side > 0).float()


def _place(sources: Tensor, style: CanvasStyle, generator: torch.Generator, *, anywhere: bool) -> Tensor:
    """Draw each source image at a random place, size and slant on an empty canvas, bilinearly.

    Args:
        sources: (num_canvases, 1, 8, 8) float.
        anywhere: the centre may come close to the border, where a part falls off the canvas; otherwise all of it stays
            visible.

    Returns:
        (num_canvases, 1, 32, 32) float.
    """
    num = len(sources)
    low, high = style.digit_pixels
    pixels = low + (high - low) * torch.rand(num, generator=generator)
    shear = style.max_shear * (2 * torch.rand(num, generator=generator) - 1)
    reach = torch.full((num,), 0.8) if anywhere else 1 - pixels / IMAGE_SIZE
    centre = reach[:, None] * (2 * torch.rand(num, 2, generator=generator) - 1)
    zoom = IMAGE_SIZE / pixels  # grid_sample maps canvas coordinates in [-1, 1] to source coordinates
    theta = torch.zeros(num, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom
    theta[:, 0, 1] = shear * zoom
    theta[:, :, 2] = -torch.einsum("nij,nj->ni", theta[:, :, :2], centre)
    grid = affine_grid(theta, [num, 1, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)
    return grid_sample(sources, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def open_digits() -> DataSource:
    """The data source `digits`; nothing can be missing, it comes with scikit-learn."""
    train, validation = (make_canvases(split, number) for split, number in NUM_CANVASES.items())
    return with_pixels(DIGITS, train, validation)


def with_pixels(known: DataSource, train: Canvases, validation: Canvases) -> DataSource:
    """What is known of canvases before they are drawn, and what their pixels add: mean, deviation, fingerprint."""
    pixels = train.images.float() / 255
    return replace(
        known,
        mean=(round(float(pixels.mean()), 4),),
        std=(round(float(pixels.std()), 4),),
        fingerprint=fingerprint(
            part.numpy().tobytes() for part in (train.images, train.labels, validation.images, validation.labels)
        ),
    )


def load_digits_batches(source: DataSource, recipe: Recipe, device: torch.device) -> TensorBatches:
    train, validation = (make_canvases(split, number) for split, number in NUM_CANVASES.items())
    return TensorBatches((train.images, train.labels), (validation.images, validation.labels), source, recipe, device)


def digits_test(source: DataSource, recipe: Recipe, device: torch.device) -> Iterator[Batch]:
    test = make_canvases("test", NUM_TEST)
    return in_order(test.images, test.labels, Preprocess(source, recipe, device))
