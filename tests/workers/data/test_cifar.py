"""CIFAR: the published archives, damaged ones, and pickles that would run code."""

import codecs
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import InvalidInputError
from tests.workers.data.samples import (
    AUGMENTED,
    CPU,
    PLAIN,
    check_batches,
    labels_of,
    labels_of_the_test,
    snapshot,
    truncate,
    unpickle,
    write_cifar10,
)
from workers.data.registry import load_data, open_data
from workers.data.source import hold_out


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
    assert source.label_names == tuple(f"class{i}" for i in range(10))


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
    assert source.label_names == tuple(map(str, range(100)))


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
