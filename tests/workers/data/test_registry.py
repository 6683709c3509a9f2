"""Data sets: what is read, what is refused and how the refusal reads. All files are real ones, written here."""

import codecs
import pickle
import shutil
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nas.errors import InvalidInputError
from workers.data import image_folder
from workers.data.batches import Batches, random_resized_crop, shift
from workers.data.image_folder import FolderBatches
from workers.data.registry import load_data, load_test, open_data
from workers.data.source import DataSource, evenly, hold_out, image_size_for
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


# ---------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mnist", "data 'mnist' is unknown; expected digits, cifar10:DIR"),
        ("", "data '' is unknown"),
        ("cifar10", "data 'cifar10': the path is missing; expected"),
        ("folder:", "data 'folder:': the path is missing"),
        ("digits:/here", "digits takes no path"),
    ],
)
def test_a_text_that_names_no_data_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        open_data(text)
    assert message in str(caught.value)


def test_digits_keep_what_every_kind_promises() -> None:
    source = open_data("digits")
    check_batches(load_data(source, AUGMENTED, CPU), channels=1, size=32, num_validation=source.num_validation)
    images = torch.cat([images for images, _ in load_data(source, PLAIN, CPU).validation()])
    assert abs(float(images.mean())) < 0.1
    assert abs(float(images.std()) - 1) < 0.1
    assert np.bincount(labels_of_the_test(source)).tolist() == [103] * 4 + [102] * 6


# ---------------------------------------------------------------- CIFAR


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


def unpickle(path: Path) -> dict[bytes, Any]:
    return pickle.loads(path.read_bytes())  # noqa: S301 - written by this test


@pytest.mark.parametrize("inside", [True, False])
def test_cifar10_is_read_with_its_hold_out(tmp_path: Path, inside: bool) -> None:
    archive = write_cifar10(tmp_path)
    source = open_data(f"cifar10:{archive if inside else tmp_path}")
    assert (source.name, source.num_classes, source.input_shape) == ("cifar10", 10, (3, 32, 32))
    assert (source.num_train, source.num_validation) == (180, 20)
    batches = load_data(source, AUGMENTED, CPU)
    check_batches(batches, channels=3, size=32, num_validation=20)
    assert np.bincount(labels_of(batches)).tolist() == [2] * 10
    assert labels_of_the_test(source) == unpickle(archive / "test_batch")[b"labels"]
    assert source.num_test == 40


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar10(tmp_path / "sets")
    monkeypatch.chdir(tmp_path)
    source = open_data("cifar10:sets")
    assert source.text == f"cifar10:{tmp_path / 'sets'}"
    monkeypatch.chdir("/")
    assert open_data(source.text) == source


def test_cifar10_normalises_the_pixels_of_the_files(tmp_path: Path) -> None:
    archive = write_cifar10(tmp_path)
    source = open_data(f"cifar10:{tmp_path}")
    batches = load_data(source, PLAIN, CPU)
    stored = np.concatenate([unpickle(archive / f"data_batch_{i}")[b"data"] for i in range(1, 6)])
    labels = np.tile(np.arange(40) % 10, 5)
    held_out = stored[hold_out(labels, 0.1)[1]].reshape(-1, 3, 32, 32) / 255
    expected = (held_out - np.array(source.mean).reshape(1, 3, 1, 1)) / np.array(source.std).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(next(batches.validation())[0].numpy(), expected, atol=1e-4)


def test_opening_cifar10_takes_a_few_times_the_memory_of_its_pixels(tmp_path: Path) -> None:
    write_cifar10(tmp_path, per_batch=400)
    tracemalloc.start()
    try:
        source = open_data(f"cifar10:{tmp_path}")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * source.num_train * 3 * 32 * 32


def test_cifar100_uses_its_fine_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        content = {
            b"fine_labels": [i % 100 for i in range(400)],
            b"coarse_labels": [0] * 400,
            b"data": rng.integers(0, 256, (400, 3072), dtype=np.uint8),
        }
        (tmp_path / name).write_bytes(pickle.dumps(content, 2))
    (tmp_path / "meta").write_bytes(pickle.dumps({b"fine_label_names": [str(i).encode() for i in range(100)]}, 2))
    source = open_data(f"cifar100:{tmp_path}")
    assert (source.num_classes, source.num_train, source.num_validation) == (100, 300, 100)


def test_the_fingerprint_sees_one_changed_byte(tmp_path: Path) -> None:
    archive = write_cifar10(tmp_path)
    before = open_data(f"cifar10:{tmp_path}").fingerprint
    assert open_data(f"cifar10:{tmp_path}").fingerprint == before
    content = unpickle(archive / "data_batch_3")
    content[b"data"][7, 7] ^= 1
    (archive / "data_batch_3").write_bytes(pickle.dumps(content, 2))
    assert open_data(f"cifar10:{tmp_path}").fingerprint != before


class NamesCodec:
    """Pickles like bytes of Python 3, in a codec that would be looked for among the installed modules."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return codecs.encode, ("", "no_such_codec")


class RunsCode:
    """What a hostile archive would hold."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return open, ("/dev/null",)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def rewrite(path: Path, change: Callable[[dict[bytes, Any]], object]) -> None:
    content = unpickle(path)
    change(content)
    path.write_bytes(pickle.dumps(content, 2))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda archive: (archive / "data_batch_4").unlink(),
            "data_batch_4 cannot be read (No such file or directory)",
        ),
        (
            lambda archive: truncate(archive / "data_batch_2"),
            "data_batch_2 is damaged or no published archive: pickle data",
        ),
        (lambda archive: truncate(archive / "test_batch"), "test_batch is damaged"),
        (
            lambda archive: (archive / "data_batch_1").write_bytes(b""),
            "data_batch_1 is damaged or no published archive: Ran out of input",
        ),
        (lambda archive: (archive / "data_batch_1").write_bytes(b"not a pickle"), "data_batch_1 is damaged"),
        (
            lambda archive: (archive / "data_batch_1").write_bytes(pickle.dumps(RunsCode())),
            "it names io.open, which no published archive does",
        ),
        (
            lambda archive: (archive / "data_batch_1").write_bytes(pickle.dumps(NamesCodec(), 2)),
            "it names the codec 'no_such_codec', which no published archive does",
        ),
        (lambda archive: (archive / "data_batch_1").write_bytes(pickle.dumps([1, 2])), "expected a dictionary"),
        (
            lambda archive: rewrite(archive / "data_batch_5", lambda c: c.update({b"data": c[b"data"][:, :100]})),
            "uint8 rows of 3072 values",
        ),
        (
            lambda archive: rewrite(archive / "data_batch_5", lambda c: c.update({b"labels": [0, 1]})),
            "expected a list of 40 labels",
        ),
        (
            lambda archive: rewrite(archive / "data_batch_5", lambda c: c.update({b"labels": [10] * 40})),
            "expected labels from 0 to 9",
        ),
        (lambda archive: rewrite(archive / "batches.meta", lambda c: c.clear()), "expected 10 names under label_names"),
        (
            lambda archive: rewrite(archive / "batches.meta", lambda c: c.update({b"label_names": [1] * 10})),
            "expected 10 names under",
        ),
        (lambda archive: (archive / "batches.meta").unlink(), "neither holds nor is the folder cifar-10-batches-py"),
    ],
)
def test_a_damaged_cifar_archive_is_refused(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(write_cifar10(tmp_path))
    before = snapshot(tmp_path)
    with pytest.raises(InvalidInputError) as caught:
        open_data(f"cifar10:{tmp_path}")
    assert message in str(caught.value)
    assert "unpack" in str(caught.value)
    assert snapshot(tmp_path) == before


def test_a_cifar_class_without_images_is_refused(tmp_path: Path) -> None:
    archive = write_cifar10(tmp_path)
    for i in range(1, 6):
        rewrite(archive / f"data_batch_{i}", lambda c: c.update({b"labels": [label % 9 for label in c[b"labels"]]}))
    with pytest.raises(
        InvalidInputError, match=r"class with too few images: class9 \(0\); expected at least 2 in each"
    ):
        open_data(f"cifar10:{tmp_path}")


def test_a_path_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="'/no/such/place' neither holds nor is the folder cifar-10-batches-py"):
        open_data("cifar10:/no/such/place")
    with pytest.raises(InvalidInputError, match="/no/such/place/train cannot be listed"):
        open_data("folder:/no/such/place")


# ---------------------------------------------------------------- image folders


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


def test_a_folder_is_read(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "my pets")
    source = open_data(f"folder:{root}")
    assert source.name == "folder-my-pets"
    assert (source.num_classes, source.num_train, source.num_validation, source.image_size) == (3, 18, 18, 32)
    batches = load_data(source, AUGMENTED, CPU)
    check_batches(batches, channels=3, size=32, num_validation=18)
    assert labels_of(batches) == [0] * 6 + [1] * 6 + [2] * 6


def test_images_of_a_folder_test_are_kept_apart_if_they_have_labels(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    before = open_data(f"folder:{root}")
    assert before.num_test == 0
    for name in ("cat", "owl"):
        shutil.copytree(root / "val" / name, root / "test" / name)
    source = open_data(f"folder:{root}")
    assert source == replace(before, num_test=12)
    assert labels_of_the_test(source) == [0] * 6 + [2] * 6
    (root / "test" / "cat").rename(root / "test" / "unlabelled")
    assert open_data(f"folder:{root}") == before


def test_a_folder_too_large_for_memory_gives_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_data(f"folder:{write_folder(tmp_path)}")
    kept = load_data(source, AUGMENTED, CPU)
    monkeypatch.setattr(image_folder, "MEMORY_BYTES", 0)
    streamed = load_data(source, AUGMENTED, CPU)
    assert isinstance(streamed, FolderBatches)
    check_batches(streamed, channels=3, size=32, num_validation=18)
    for (images, labels), (images_kept, labels_kept) in zip(streamed.validation(), kept.validation(), strict=True):
        assert torch.equal(images, images_kept)
        assert torch.equal(labels, labels_kept)


def test_reading_a_folder_leaves_the_random_numbers_of_the_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_data(f"folder:{write_folder(tmp_path)}")
    monkeypatch.setattr(image_folder, "MEMORY_BYTES", 0)
    batches = load_data(source, AUGMENTED, CPU)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    take_train(batches, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_grey_images_and_images_with_transparency_become_rgb(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    Image.new("L", (50, 40), 128).save(root / "val" / "cat" / "0.png")
    Image.new("RGBA", (50, 40), (255, 0, 0, 128)).save(root / "val" / "cat" / "2.png")
    images, _ = next(load_data(open_data(f"folder:{root}"), PLAIN, CPU).validation())
    assert images.shape == (18, 3, 32, 32)


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    ramp = np.tile(np.linspace(0, 65535, 50).astype(np.uint16), (40, 1))
    for name in ("0.png", "2.png"):
        Image.fromarray((ramp // 257).astype(np.uint8)).save(root / "val" / "cat" / name)
    Image.fromarray(ramp).save(root / "val" / "cat" / "2.png")
    images, _ = next(load_data(open_data(f"folder:{root}"), PLAIN, CPU).validation())
    assert torch.equal(images[0], images[2])  # 0.png, 1.jpg, 2.png


def make_unreadable(path: Path) -> None:
    path.write_bytes(b"no image at all")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: make_unreadable(root / "val/dog/3.jpg"), "val/dog/3.jpg is no readable image"),
        (lambda root: truncate(root / "train/owl/4.png"), "train/owl/4.png is no readable image"),
        (
            lambda root: Image.fromarray(np.zeros((40, 50), dtype=np.float32)).save(root / "train/owl/depth.tiff"),
            "train/owl/depth.tiff is no readable image (its pixels are numbers of 32 bits, mode F",
        ),
        (lambda root: [path.unlink() for path in (root / "train/cat").iterdir()], "class with too few images: cat (0)"),
        (lambda root: (root / "val/fox").mkdir(), "train/ and val/ differ in their class folders (fox in one only)"),
        (lambda root: (root / "val").rename(root / "test"), "val cannot be listed (No such file or directory)"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(write_folder(tmp_path))
    before = snapshot(tmp_path)
    with pytest.raises(InvalidInputError) as caught:
        open_data(f"folder:{tmp_path}")
    assert message in str(caught.value)
    assert snapshot(tmp_path) == before


def test_headers_are_checked_beyond_the_decoded_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folder(tmp_path)
    make_unreadable(root / "val/owl/5.jpg")
    monkeypatch.setattr(image_folder, "SAMPLE", 2)
    monkeypatch.setattr(image_folder, "HASHED_BYTES", 0)
    with pytest.raises(InvalidInputError, match=r"val/owl/5.jpg is no readable image .* replace or remove it"):
        open_data(f"folder:{root}")


def test_a_small_set_is_decoded_wholly_when_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folder(tmp_path)
    truncate(root / "val/owl/5.jpg")  # only its end is missing
    monkeypatch.setattr(image_folder, "SAMPLE", 2)
    with pytest.raises(InvalidInputError, match=r"val/owl/5.jpg is no readable image .*truncated"):
        open_data(f"folder:{root}")


@pytest.mark.parametrize("memory_bytes", [0, image_folder.MEMORY_BYTES])
def test_an_image_that_is_found_damaged_later_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_bytes: int
) -> None:
    source = open_data(f"folder:{write_folder(tmp_path)}")
    truncate(tmp_path / "val/dog/3.jpg")  # its header stays whole, as in a large set that was not decoded wholly
    monkeypatch.setattr(image_folder, "MEMORY_BYTES", memory_bytes)
    with pytest.raises(InvalidInputError, match=r"val/dog/3\.jpg is no readable image"):
        list(load_data(source, PLAIN, CPU).validation())


def test_one_class_is_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path, classes=("cat",))
    with pytest.raises(InvalidInputError, match="has 1 class; a classifier needs at least 2"):
        open_data(f"folder:{root}")


def test_the_fingerprint_of_a_folder_sees_names_and_contents(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    prints = [open_data(f"folder:{root}").fingerprint]
    (root / "val/cat/0.png").rename(root / "val/cat/zero.png")
    prints.append(open_data(f"folder:{root}").fingerprint)
    Image.new("RGB", (50, 40)).save(root / "train/dog/0.png")
    prints.append(open_data(f"folder:{root}").fingerprint)
    assert len(set(prints)) == 3


def test_the_image_size_follows_the_median_shorter_side() -> None:
    assert image_size_for([(500, 375)] * 3 + [(20, 20)]) == 128
    assert image_size_for([(96, 100)]) == 96
    assert image_size_for([(100, 70)]) == 64
    assert image_size_for([(9, 12)]) == 32


# ---------------------------------------------------------------- FFCV


@pytest.fixture
def beton(tmp_path: Path, ffcv: None) -> Path:
    return write_beton(tmp_path / "my set.beton")


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


def test_a_beton_file_is_read(beton: Path) -> None:
    source = open_data(f"beton:{beton}")
    assert source.name == "my-set"
    assert (source.num_classes, source.num_train, source.num_validation, source.image_size) == (3, 27, 3, 32)
    batches = load_data(source, AUGMENTED, CPU)
    check_batches(batches, channels=3, size=32, num_validation=3)
    assert sorted(labels_of(batches)) == [0, 1, 2]


def test_crops_of_a_beton_file_follow_from_the_seed(beton: Path) -> None:
    """Each is a rectangle of one of the images, resized and mirrored as the generator of the training says."""
    import cv2
    from ffcv.reader import Reader

    from workers.data.beton.crop import draw_rectangles

    recipe = replace(AUGMENTED, max_shift=0, batch_size=27)
    seed = 3
    source = open_data(f"beton:{beton}")
    batches = load_data(source, recipe, CPU)
    crops, labels = next(batches.train(seed))
    again, _ = next(batches.train(seed))
    other, _ = next(batches.train(seed + 1))
    assert torch.equal(crops, again)
    assert not torch.equal(crops, other)

    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(30)]
    assert len(pixels) == Reader(str(beton)).num_samples
    generator = torch.Generator().manual_seed(seed)
    torch.randint(2**31, (), generator=generator)  # the order
    rectangles = draw_rectangles(np.full(30, 64), np.full(30, 48), 0.5, generator)
    mirrored = torch.randint(2, (30,), generator=generator)
    assert set(mirrored.tolist()) == {0, 1}
    expected = []
    for image, (top, left, height, width), mirror in zip(pixels, rectangles.tolist(), mirrored.tolist(), strict=True):
        crop = cv2.resize(image[top : top + height, left : left + width], (32, 32), interpolation=cv2.INTER_AREA)
        expected.append(torch.from_numpy(crop[:, ::-1].copy() if mirror else crop).permute(2, 0, 1))
    shown = crops * 255 * torch.tensor(source.std).view(3, 1, 1) + 255 * torch.tensor(source.mean).view(3, 1, 1)
    found = [
        next(i for i, image in enumerate(expected) if torch.allclose(image.float(), one, atol=0.01)) for one in shown
    ]
    assert len(set(found)) == 27
    assert [index // 10 for index in found] == labels.tolist()


@pytest.mark.parametrize("min_crop_area", [0.5, 1.0])
def test_a_beton_file_gives_smaller_training_images_where_the_recipe_asks(beton: Path, min_crop_area: float) -> None:
    recipe = replace(AUGMENTED, min_crop_area=min_crop_area, image_size=24)
    batches = load_data(open_data(f"beton:{beton}"), recipe, CPU)
    assert next(batches.train(0))[0].shape == (8, 3, 24, 24)
    assert next(batches.validation())[0].shape == (3, 3, 32, 32)


def test_rectangles_have_the_areas_and_shapes_that_the_recipe_allows() -> None:
    pytest.importorskip("ffcv", reason="ffcv is not installed (extra `ffcv`)", exc_type=ImportError)
    from workers.data.beton.crop import draw_rectangles

    top, left, height, width = draw_rectangles(
        np.full(2000, 400), np.full(2000, 300), 0.3, torch.Generator().manual_seed(0)
    ).T
    assert min(top.min(), left.min()) == 0
    assert (top + height).max() == 300
    assert (left + width).max() == 400
    share = height * width / 120_000
    aspect = width / height
    assert share.min() > 0.29
    assert 0.6 < share.mean() < 0.66
    assert 0.74 < aspect.min() < 0.76
    assert 1.32 < np.quantile(aspect, 0.99) < 1.35


def test_trainings_that_stop_early_leave_no_thread_behind(beton: Path) -> None:
    batches = load_data(open_data(f"beton:{beton}"), AUGMENTED, CPU)
    before = threading.active_count()
    for seed in range(3):
        training = batches.train(seed)
        next(training)
        training.close()
        validation = batches.validation()
        next(validation)
        validation.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() == before


@pytest.mark.slow
def test_importing_ffcv_leaves_the_threads_of_torch_alone(beton: Path) -> None:
    code = (
        "import sys, torch; torch.set_num_threads(2); from workers.data.registry import open_data; "
        "open_data(sys.argv[1]); "
        "assert 'ffcv' in sys.modules; print(torch.get_num_threads())"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, f"beton:{beton}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "2"


@pytest.mark.parametrize("keep", [0, 10, 3000])
def test_a_truncated_beton_file_is_refused(beton: Path, keep: int) -> None:
    beton.write_bytes(beton.read_bytes()[:keep])
    with pytest.raises(InvalidInputError, match="is damaged or not written by FFCV: its header does not fit its size"):
        open_data(f"beton:{beton}")


def test_a_beton_file_without_the_end_of_its_last_table_is_refused(beton: Path) -> None:
    beton.write_bytes(beton.read_bytes()[:-48])
    with pytest.raises(InvalidInputError, match="its last table is cut off: it holds 28 of 30 entries"):
        open_data(f"beton:{beton}")


def test_a_file_that_ffcv_did_not_write_is_refused(beton: Path) -> None:
    beton.write_bytes(b"\x07" * 100_000)
    with pytest.raises(InvalidInputError, match="is damaged or not written by FFCV"):
        open_data(f"beton:{beton}")


def test_a_beton_file_that_is_not_there_is_refused(beton: Path) -> None:
    with pytest.raises(
        InvalidInputError, match=r"cannot be read \(No such file or directory\); give a file that FFCV has written"
    ):
        open_data(f"beton:{beton}.nowhere")


def test_a_beton_file_with_one_class_is_refused(beton: Path) -> None:
    write_beton(beton, labels=(0,))
    with pytest.raises(InvalidInputError, match="has 1 class; a classifier needs at least 2"):
        open_data(f"beton:{beton}")


def test_a_beton_file_with_other_fields_is_refused(beton: Path) -> None:
    from ffcv.fields import IntField
    from ffcv.writer import DatasetWriter

    writer = DatasetWriter(str(beton), {"first": IntField(), "second": IntField()}, num_workers=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer.from_indexed_dataset([(0, 1), (1, 0)])
    with pytest.raises(
        InvalidInputError,
        match="fields first: IntField, second: IntField; expected exactly one RGBImageField and one IntField",
    ):
        open_data(f"beton:{beton}")


def test_without_ffcv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ffcv.reader", None)
    monkeypatch.setitem(sys.modules, "ffcv", None)
    with pytest.raises(InvalidInputError, match="install the extra `ffcv`"):
        open_data(f"beton:{tmp_path / 'any.beton'}")


# ---------------------------------------------------------------- augmentation and splits


def test_a_shift_moves_every_image_by_its_own_whole_pixels() -> None:
    images = torch.arange(1, 26, dtype=torch.uint8).view(1, 1, 5, 5).repeat(300, 1, 1, 1)
    moved = shift(images, 2, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    padded = torch.nn.functional.pad(images[:1], [2] * 4)[0, 0]
    windows = [padded[row : row + 5, column : column + 5] for row in range(5) for column in range(5)]
    found = {next(i for i, window in enumerate(windows) if torch.equal(window, image[0])) for image in moved}
    assert found == set(range(25))


def test_a_crop_of_the_whole_image_is_the_image() -> None:
    images = torch.rand(4, 3, 16, 16)
    cropped = random_resized_crop(images, 16, 1.0, torch.Generator().manual_seed(0))
    # The aspect ratio varies even then; a constant gradient keeps its middle.
    assert cropped.shape == images.shape
    ramp = torch.linspace(-1, 1, 16).expand(200, 1, 16, 16).contiguous()
    crops = random_resized_crop(ramp, 16, 0.25, torch.Generator().manual_seed(0))
    widths = crops[:, 0, 8, -1] - crops[:, 0, 8, 0]
    assert float(widths.min()) > 2 * 0.25**0.5 * 0.75**0.5 * 0.9
    assert float(widths.max()) <= 2.0
    assert float(crops.min()) >= -1
    assert float(crops.max()) <= 1


def test_a_crop_is_the_affine_map_that_it_stands_for() -> None:
    images = torch.rand(8, 3, 20, 20)
    cropped = random_resized_crop(images, 16, 0.3, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    area = 0.3 + 0.7 * torch.rand(8, generator=generator)
    aspect = (4 / 3) ** (2 * torch.rand(8, generator=generator) - 1)
    extent = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=1).clamp(max=1.0)
    centre = (1 - extent) * (2 * torch.rand(8, 2, generator=generator) - 1)
    theta = torch.cat([torch.diag_embed(extent), centre[:, :, None]], dim=2)
    grid = torch.nn.functional.affine_grid(theta, [8, 3, 16, 16], align_corners=False)
    expected = torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(cropped, expected, atol=1e-4, rtol=0)


def test_a_crop_mirrors_as_if_the_image_had_been_mirrored_before() -> None:
    images = torch.randint(256, (6, 3, 20, 20), dtype=torch.uint8)
    mirrored = torch.tensor([True, False] * 3)
    before = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
    expected = random_resized_crop(before, 16, 0.3, torch.Generator().manual_seed(5))
    cropped = random_resized_crop(images, 16, 0.3, torch.Generator().manual_seed(5), mirrored)
    torch.testing.assert_close(cropped, expected, atol=1e-2, rtol=0)


def test_a_hold_out_is_disjoint_complete_and_has_every_class() -> None:
    labels = np.array([0] * 100 + [1] * 10 + [2] * 2)
    train, validation = hold_out(labels, 0.1)
    assert sorted([*train, *validation]) == list(range(112))
    assert np.bincount(labels[validation]).tolist() == [10, 1, 1]
    np.testing.assert_array_equal(hold_out(labels, 0.1)[1], validation)


def test_evenly_takes_what_is_asked_for() -> None:
    assert evenly(range(10), 3) == [0, 3, 6]
    assert evenly(range(3), 10) == [0, 1, 2]
