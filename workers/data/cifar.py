"""`cifar10:DIR` and `cifar100:DIR`: the published python archives, unpacked."""

import hashlib
import math
import pickle  # noqa: TID251 - the format of the archives; read with an allow-list only
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.errors import InvalidInputError
from workers.data.batches import Batch, Preprocess, TensorBatches, in_order
from workers.data.cache import FORMAT, ImageSet, decoded
from workers.data.source import DataSource, LabelledImages, fingerprint, hold_out, plain_text, require_classes
from workers.recipe import Recipe

IMAGE_SIZE = 32
HOLD_OUT = 0.1
"""Share of the training images of every class that is held out for validation; the published test images are for
`finalize`."""


@dataclass(frozen=True, slots=True)
class _Archive:
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels_key: bytes
    names_key: bytes
    num_classes: int


ARCHIVES: Mapping[str, _Archive] = {
    "cifar10": _Archive(
        "cifar-10-batches-py",
        tuple(f"data_batch_{i}" for i in range(1, 6)),
        "test_batch",
        "batches.meta",
        b"labels",
        b"label_names",
        10,
    ),
    "cifar100": _Archive("cifar-100-python", ("train",), "test", "meta", b"fine_labels", b"fine_label_names", 100),
}


def _encode(text: str, codec: str) -> bytes:
    """In place of _codecs.encode, with which Python 3 writes bytes in the archives' protocol 2: a name of any other
    codec is imported."""
    if codec != "latin1":
        raise pickle.UnpicklingError(f"it names the codec {codec!r}, which no published archive does")
    return text.encode(codec)


_RECONSTRUCT: Any = np.zeros(0).__reduce__()[0]
_ADMITTED: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("_codecs", "encode"): _encode,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Reads arrays, bytes, numbers and containers. Whatever else a pickle may name, and so could run, is refused."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which no published archive does")
        return _ADMITTED[module_name, global_name]


def open_cifar(text: str, kind: str, path: str) -> DataSource:
    """Read and check all of an archive, the test batch included.

    Raises:
        InvalidInputError: if a file is missing, truncated, not a published archive, or a class has too few images.
    """
    archive = ARCHIVES[kind]
    folder = _find_folder(text, archive, path)
    names, images, labels = _training_images(text, archive, folder)
    _, test_labels = _read_images(text, archive, folder, (archive.test,))
    train, validation = hold_out(labels, HOLD_OUT)
    mean, std = _pixel_statistics(images[train])
    return DataSource(
        text=text,
        kind=kind,
        name=kind,
        num_classes=archive.num_classes,
        in_chans=3,
        image_size=IMAGE_SIZE,
        mean=mean,
        std=std,
        label_names=tuple(map(plain_text, names)),
        num_train=len(train),
        num_validation=len(validation),
        num_test=len(test_labels),
        fingerprint=fingerprint(
            [kind.encode(), hashlib.sha256(images.data).digest(), labels.tobytes(), validation.tobytes()]
        ),
    )


def _pixel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of (num, channels, side, side) uint8 images scaled to [0, 1], to four
    digits.

    From histograms: the pixels as floating point numbers would take gigabytes, in every worker at once.
    """
    values = np.arange(256) / 255
    means = []
    deviations = []
    for channel in range(images.shape[1]):
        counts = sum(np.bincount(image.ravel(), minlength=256) for image in np.array_split(images[:, channel], 64))
        mean = np.average(values, weights=counts)
        means.append(round(float(mean), 4))
        deviations.append(round(math.sqrt(np.average((values - mean) ** 2, weights=counts)), 4))
    return tuple(means), tuple(deviations)


def load_cifar(source: DataSource, recipe: Recipe, device: torch.device) -> TensorBatches:
    """Training images without the hold-out, and the hold-out, on the device."""
    return TensorBatches(*_decoded(source), source, recipe, device)


def prepare_cifar(source: DataSource) -> None:
    """Put the images into the cache."""
    _decoded(source)


def _decoded(source: DataSource) -> tuple[Batch, Batch]:
    """The images and labels for training and for validation, from the cache where they are kept."""
    num = source.num_train
    shape = (num + source.num_validation, *source.input_shape)

    def read() -> Iterator[Batch]:
        archive = ARCHIVES[source.kind]
        folder = _find_folder(source.text, archive, source.text.partition(":")[2])
        images, labels = _read_images(source.text, archive, folder, archive.train)
        order = np.concatenate(hold_out(labels, HOLD_OUT))
        yield torch.from_numpy(images[order]), torch.from_numpy(labels[order])

    about = {"fingerprint": source.fingerprint, "shape": list(shape), "format": FORMAT}
    images, labels = decoded(ImageSet(about=about, shape=shape, decode=read))
    return (images[:num], labels[:num]), (images[num:], labels[num:])


def cifar_test(source: DataSource, recipe: Recipe, device: torch.device) -> Iterator[Batch]:
    """The published test images."""
    archive = ARCHIVES[source.kind]
    folder = _find_folder(source.text, archive, source.text.partition(":")[2])
    images, labels = (torch.from_numpy(part) for part in _read_images(source.text, archive, folder, (archive.test,)))
    return in_order(images, labels, Preprocess(source, recipe, device))


def cifar_images(text: str, kind: str, path: str) -> LabelledImages:
    """The training images without the hold-out, then the hold-out; never the test images.

    Raises:
        InvalidInputError: if a file is missing, truncated, not a published archive, or a class has too few images.
    """
    archive = ARCHIVES[kind]
    folder = _find_folder(text, archive, path)
    names, images, labels = _training_images(text, archive, folder)
    train, validation = hold_out(labels, HOLD_OUT)
    order = np.concatenate([train, validation])
    return LabelledImages(
        class_names=tuple(names),
        labels=labels[order],
        num_train=len(train),
        name_of=lambda index: f"training image {order[index]} of {folder}",
        read=lambda index: np.ascontiguousarray(images[order[index]].transpose(1, 2, 0)),
    )


def _training_images(text: str, archive: _Archive, folder: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Class names, images and labels of the training batches, of every class enough."""
    found = _read(text, folder / archive.meta).get(archive.names_key)
    if (
        not isinstance(found, list)
        or len(found) != archive.num_classes
        or not all(isinstance(name, bytes) for name in found)
    ):
        raise _damaged(
            text, folder / archive.meta, f"expected {archive.num_classes} names under {archive.names_key.decode()}"
        )
    names = [str(name, "utf-8", "replace") for name in found]
    images, labels = _read_images(text, archive, folder, archive.train)
    require_classes(text, labels, names, at_least=2)
    return names, images, labels


def _find_folder(text: str, archive: _Archive, path: str) -> Path:
    for folder in (Path(path) / archive.folder, Path(path)):
        if (folder / archive.meta).is_file():
            return folder
    raise InvalidInputError(
        f"data {text!r}: {path!r} neither holds nor is the folder {archive.folder} (there is no {archive.meta}); "
        "give the folder into which the published python archive was unpacked"
    )


def _read_images(text: str, archive: _Archive, folder: Path, files: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(num, 3, 32, 32) uint8 images and (num,) int64 labels of some batches of an archive."""
    images = []
    labels = []
    for path in (folder / name for name in files):
        batch = _read(text, path)
        data = batch.get(b"data")
        classes = batch.get(archive.labels_key)
        if (
            not isinstance(data, np.ndarray)
            or data.dtype != np.uint8
            or data.ndim != 2
            or data.shape[1] != 3 * IMAGE_SIZE**2
        ):
            raise _damaged(text, path, f"expected uint8 rows of {3 * IMAGE_SIZE**2} values under data")
        if not isinstance(classes, list) or len(classes) != len(data):
            raise _damaged(text, path, f"expected a list of {len(data)} labels under {archive.labels_key.decode()}")
        if not all(isinstance(label, int) and 0 <= label < archive.num_classes for label in classes):
            raise _damaged(text, path, f"expected labels from 0 to {archive.num_classes - 1}")
        images.append(data.reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE))
        labels.append(np.array(classes, dtype=np.int64))
    return np.concatenate(images), np.concatenate(labels)


def _read(text: str, path: Path) -> dict[bytes, Any]:
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="bytes").load()
    except OSError as error:
        raise InvalidInputError(
            f"data {text!r}: {path} cannot be read ({error.strerror}); unpack the published archive again"
        ) from error
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
        MemoryError,
        OverflowError,
    ) as error:
        raise _damaged(text, path, str(error) or type(error).__name__) from error
    if not isinstance(content, dict):
        raise _damaged(text, path, "expected a dictionary")
    return content


def _damaged(text: str, path: Path, what: str) -> InvalidInputError:
    return InvalidInputError(
        f"data {text!r}: {path} is damaged or no published archive: {what}; unpack the archive again"
    )
