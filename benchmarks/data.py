"""Images per second of each way to read images, all on the same JPEGs, which this program makes.

    python -m benchmarks.data [--images 1000] [--size 128] [--batch 64] [--repetitions 5]

The JPEGs have 500 x 375 pixels: crops of the two photographs that scikit-learn brings, blended with smoothed noise.
Every reader gives augmented, normalised float batches: random resized crop (area 0.35 to 1), mirror images.
torchvision: its DataLoader over ImageFolder with one process per core; the others: workers/, with as many threads.
"whole" is the JPEGs as they are, "256" the same reduced to a longer side of 256 pixels: JPEG files of quality 90 for
torchvision, `launch.py pack` for FFCV. "FFCV decoding" is FFCV's own random resized crop, to uint8, neither mirrored
nor normalised. Readers take turns; every turn begins after one warm-up batch. Medians, ratios of each round.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader, RandomSampler
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from workers.data import streamed
from workers.data.batches import Batches
from workers.data.beton.pack import pack_images
from workers.data.beton.reader import open_beton
from workers.data.registry import load_data, open_data
from workers.data.streamed import StreamedBatches
from workers.recipe import Recipe

WIDTH = 500
HEIGHT = 375
MIN_AREA = 0.35
CPU = torch.device("cpu")

Turn = Callable[[], Iterator[Any]]
"""Begins to read; endless batches."""


def write_images(root: Path, number: int) -> float:
    """Nine tenths for training, in two classes; returns the mean size of a JPEG, bytes."""
    rng = np.random.default_rng(0)
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    sizes = []
    for index in range(number):
        folder = root / ("val" if index % 10 == 9 else "train") / ("even", "odd")[index % 20 // 10]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{index:05d}.jpg"
        make_image(rng, photographs).save(path, quality=94)
        sizes.append(path.stat().st_size)
    return statistics.mean(sizes)


def make_image(rng: np.random.Generator, photographs: list[Image.Image]) -> Image.Image:
    """Half a crop of a photograph, half noise of three scales: coarse forms, textures, grain."""
    photograph = photographs[int(rng.integers(len(photographs)))]
    width = int(rng.integers(300, photograph.width))
    height = min(photograph.height, width * HEIGHT // WIDTH)
    left = int(rng.integers(photograph.width - width + 1))
    top = int(rng.integers(photograph.height - height + 1))
    crop = photograph.crop((left, top, left + width, top + height)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    noise = np.zeros((HEIGHT, WIDTH, 3))
    for side, weight in ((5, 0.6), (40, 0.3), (250, 0.1)):
        grid = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        noise += weight * np.asarray(grid.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    return Image.blend(crop, Image.fromarray(noise.astype(np.uint8)), 0.5)


def reduce_images(root: Path, target: Path) -> None:
    for path in root.rglob("*.jpg"):
        copy = target / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.thumbnail((256, 256), Image.Resampling.BOX)
            image.save(copy, quality=90)


def torchvision_turn(root: Path, size: int, batch: int) -> Turn:
    steps = [v2.RandomResizedCrop(size, scale=(MIN_AREA, 1), antialias=True), v2.RandomHorizontalFlip(), v2.ToImage()]
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    images = ImageFolder(str(root / "train"), v2.Compose(steps))
    # One long epoch: an end would let the processes run dry.
    order = RandomSampler(images, replacement=True, num_samples=10**6)
    return lambda: iter(DataLoader(images, batch, sampler=order, num_workers=os.cpu_count() or 1))


def our_turn(text: str, size: int, batch: int, *, in_memory: bool = True) -> Turn:
    recipe = Recipe(rungs=(1,), batch_size=batch, learning_rate=1e-3, horizontal_flip=True, min_crop_area=MIN_AREA)
    source = replace(open_data(text), image_size=size)
    kept = streamed.MEMORY_BYTES
    streamed.MEMORY_BYTES = streamed.MEMORY_BYTES if in_memory else 0
    try:
        batches: Batches = load_data(source, recipe, CPU)
    finally:
        streamed.MEMORY_BYTES = kept
    assert in_memory or isinstance(batches, StreamedBatches)
    return lambda: batches.train(0)


def decoding_turn(file: Path, size: int, batch: int) -> Turn:
    """FFCV's own random resized crop, to uint8."""
    from ffcv.fields.basics import IntDecoder
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import ToTensor

    crop = RandomResizedCropRGBImageDecoder((size, size), scale=(MIN_AREA, 1.0))
    loader = Loader(
        str(file),
        batch_size=batch,
        num_workers=torch.get_num_threads(),
        os_cache=True,
        order=OrderOption.RANDOM,
        indices=np.arange(open_beton(f"beton:{file}", str(file)).num_train),
        drop_last=True,
        batches_ahead=1,
        pipelines={"image": [crop, ToTensor()], "label": [IntDecoder(), ToTensor()]},
    )

    def read() -> Iterator[Any]:
        while True:
            with closing(iter(loader)) as batches:
                yield from batches

    return read


def images_per_s(turn: Turn, batch: int, number: int) -> float:
    batches = turn()
    next(batches)
    count = max(4, number // batch)
    start = time.perf_counter()
    for _ in range(count):
        next(batches)
    elapsed_s = time.perf_counter() - start
    if hasattr(batches, "close"):
        batches.close()
    return count * batch / elapsed_s


def make_turns(folder: Path, size: int, batch: int) -> dict[str, Turn]:
    whole = folder / "whole"
    reduced = folder / "reduced"
    packed = folder / "256.beton"
    packed_whole = folder / "500.beton"
    reduce_images(whole, reduced)
    for file, side in ((packed, 256), (packed_whole, WIDTH)):
        pack_images(f"folder:{whole}", file, max_size=side, workers=None, force=True, show=lambda done, total: None)
    return {
        "torchvision, whole": torchvision_turn(whole, size, batch),
        "torchvision, 256": torchvision_turn(reduced, size, batch),
        "folder, whole": our_turn(f"folder:{whole}", size, batch, in_memory=False),
        "folder in memory": our_turn(f"folder:{whole}", size, batch),
        "beton, whole": our_turn(f"beton:{packed_whole}", size, batch),
        "beton, 256": our_turn(f"beton:{packed}", size, batch),
        "FFCV decoding, whole": decoding_turn(packed_whole, size, batch),
        "FFCV decoding, 256": decoding_turn(packed, size, batch),
    }


def median_ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """Median of the ratios of repetitions that followed each other."""
    return statistics.median(value / other for value, other in zip(values, others, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--size", type=int, default=128, help="side of the images that a model sees")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as name:
        mean_bytes = write_images(Path(name) / "whole", options.images)
        turns = make_turns(Path(name), options.size, options.batch)
        print(
            f"{options.images} JPEGs of {WIDTH} x {HEIGHT}, {mean_bytes / 1e3:.0f} kB on average, to "
            f"{options.size} x {options.size}"
        )
        for turn in turns.values():
            images_per_s(turn, options.batch, 4 * options.batch)  # compiles, fills caches
        speeds: dict[str, list[float]] = {name: [] for name in turns}
        for _ in range(options.repetitions):
            for reader, turn in turns.items():
                speeds[reader].append(images_per_s(turn, options.batch, options.images))
    print(f"{'':22} images/s    lowest   highest   / torchvision whole   / torchvision 256")
    for reader, values in speeds.items():
        against = [median_ratio(values, speeds[base]) for base in ("torchvision, whole", "torchvision, 256")]
        ratios = "".join(f"{ratio:20.2f}" for ratio in against)
        print(f"{reader:22} {statistics.median(values):8.0f}  {min(values):8.0f}  {max(values):8.0f}{ratios}")


if __name__ == "__main__":
    main()
