"""Data sets made up for tests, and what every kind of data promises."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from workers.data.batches import Batches
from workers.data.registry import load_test
from workers.data.source import DataSource
from workers.recipe import Recipe

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")
PLAIN = Recipe(rungs=(1,), batch_size=8, learning_rate=1e-3)
AUGMENTED = Recipe(rungs=(1,), batch_size=8, learning_rate=1e-3, max_shift=3, horizontal_flip=True, min_crop_area=0.5)


def snapshot(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def labels_of(batches: Batches) -> list[int]:
    return torch.cat([labels for _, labels in batches.validation()]).tolist()


def take_train(batches: Batches, count: int, seed: int = 0) -> list[torch.Tensor]:
    stream = batches.train(seed)
    return [tensor for _ in range(count) for tensor in next(stream)]


def labels_of_the_test(source: DataSource) -> list[int]:
    batches = list(load_test(source, AUGMENTED, CPU))
    assert all(images.shape[1:] == source.input_shape and images.dtype == torch.float32 for images, _ in batches)
    return [int(label) for _, labels in batches for label in labels]


def check_batches(batches: Batches, *, channels: int, size: int, num_validation: int) -> None:
    """What every kind of data promises."""
    validation = list(batches.validation())
    assert len(validation) == batches.num_validation
    assert sum(len(labels) for _, labels in validation) == num_validation
    assert validation[0][0].shape[1:] == (channels, size, size)
    assert validation[0][0].dtype == torch.float32
    assert validation[0][1].dtype == torch.int64
    for (images, labels), (images_again, labels_again) in zip(validation, batches.validation(), strict=True):
        assert torch.equal(images, images_again)
        assert torch.equal(labels, labels_again)
    first, again, other = (take_train(batches, 5, seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert first[0].shape == (8, channels, size, size)
    assert first[1].shape == (8,)


def write_cifar10(folder: Path, *, per_batch: int = 40, protocol: int = 2) -> Path:
    """A small archive in the layout of the published one."""
    archive = folder / "cifar-10-batches-py"
    archive.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        labels = [i % 10 for i in range(per_batch)]
        content = {
            b"batch_label": name.encode(),
            b"labels": labels,
            b"data": rng.integers(0, 256, (per_batch, 3072), dtype=np.uint8),
        }
        (archive / name).write_bytes(pickle.dumps(content, protocol))
    (archive / "batches.meta").write_bytes(
        pickle.dumps({b"label_names": [f"class{i}".encode() for i in range(10)]}, protocol)
    )
    return archive


def write_folder(
    root: Path,
    *,
    classes: tuple[str, ...] = ("cat", "dog", "owl"),
    per_class: int = 6,
    size: tuple[int, int] = (50, 40),
) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for i in range(per_class):
                pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i}.{'jpg' if i % 2 else 'png'}")
    return root


def unpickle(path: Path) -> dict[bytes, Any]:
    return pickle.loads(path.read_bytes())  # noqa: S301 - written by this test


def write_beton(path: Path, *, labels: tuple[int, ...] = (0, 1, 2), per_class: int = 10) -> Path:
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    rng = np.random.default_rng(0)
    items = [(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), label) for label in labels for _ in range(per_class)]
    writer = DatasetWriter(str(path), {"image": RGBImageField(), "label": IntField()}, num_workers=1, page_size=2**21)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer.from_indexed_dataset(items)
    return path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])
