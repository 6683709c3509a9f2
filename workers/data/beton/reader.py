"""`beton:FILE`: an FFCV file with one image field and one label field, from `launch.py pack` or written elsewhere.

FFCV is an extra: it compiles against system libraries when it is installed, and its loaders when they are first used
(seconds).
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nas.errors import InvalidInputError
from workers.data.batches import Batch, Batches, Preprocess, TensorBatches
from workers.data.beton.sidecar import Sidecar, check_contents, read_sidecar
from workers.data.beton.writer import import_ffcv
from workers.data.source import (
    CHUNK_BYTES,
    CROP_PCT,
    HASHED_BYTES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    DataSource,
    evenly,
    fingerprint,
    hold_out,
    image_size_for,
    plain_name,
    plain_text,
    require_classes,
)
from workers.data.streamed import Images, StreamedBatches, as_rgb, fit_in_memory, readable
from workers.recipe import Recipe

RAW = 1
"""FFCV's mode of an image that is kept as pixels (IMAGE_MODES in ffcv/fields/rgb_image.py)."""
HOLD_OUT = 0.1
"""Share of the images of every class that is held out for validation from a file without a sidecar."""
BATCHES_AHEAD = 1
"""Decoded in advance by threads that no lock holds; kept small, so that they are soon idle when a timing begins."""


def open_beton(text: str, path: str) -> DataSource:
    """Hold the file against its sidecar where there is one, read its tables and check them against its size.

    Raises:
        InvalidInputError: if FFCV is not installed, or the file is missing, truncated, altered, has other fields or
            useless classes.
    """
    file = Path(path)
    import_ffcv(f"data {text!r}")
    sidecar = read_sidecar(text, file)
    if sidecar is not None:
        check_contents(text, file, sidecar)
    reader = open_reader(text, file)
    images = image_table(text, reader)
    labels = label_table(text, reader)
    train, validation = _split(text, file, labels, sidecar)
    sizes = evenly(list(zip(images["width"].tolist(), images["height"].tolist(), strict=True)), 4096)
    return DataSource(
        text=text,
        kind="beton",
        name=plain_name(file.stem),
        num_classes=int(labels.max()) + 1,
        in_chans=3,
        image_size=image_size_for(sizes),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        crop_pct=CROP_PCT,
        label_names=() if sidecar is None else tuple(map(plain_text, sidecar.class_names)),
        num_train=len(train),
        num_validation=len(validation),
        fingerprint=fingerprint([reader.metadata.tobytes(), validation.tobytes(), *_content_chunks(file)]),
    )


def _split(text: str, file: Path, labels: np.ndarray, sidecar: Sidecar | None) -> tuple[np.ndarray, np.ndarray]:
    """Indices for training and for validation: as packed, else a hold-out."""
    names = [f"label {label}" for label in range(labels.max() + 1)] if sidecar is None else sidecar.class_names
    if sidecar is not None and (
        labels.max() >= len(names) or len(labels) != sidecar.num_train + sidecar.num_validation
    ):
        raise _damaged(text, file, "it holds other images than its sidecar says")
    require_classes(text, labels, names, at_least=2)
    if sidecar is None:
        return hold_out(labels, HOLD_OUT)
    return np.arange(sidecar.num_train), np.arange(sidecar.num_train, len(labels))


def load_beton(source: DataSource, recipe: Recipe, device: torch.device) -> Batches:
    """Loaders over the file; compiling them takes seconds."""
    file = Path(source.text.partition(":")[2])
    import_ffcv(f"data {source.text!r}")
    reader = open_reader(source.text, file)
    from ffcv.fields.rgb_image import CenterCropRGBImageDecoder

    from workers.data.beton.crop import PlannedCropDecoder

    images = image_table(source.text, reader)
    labels = label_table(source.text, reader)
    train, validation = _split(source.text, file, labels, read_sidecar(source.text, file))
    fields = _field_names(source.text, reader)
    side = source.stored.image_size
    crop = (
        PlannedCropDecoder(recipe.training_size(source.image_size), images["width"], images["height"], recipe)
        if recipe.min_crop_area < 1
        else None
    )
    decoder = crop or CenterCropRGBImageDecoder((side, side), ratio=1.0)
    training = _make_loader(file, fields, decoder, train, min(recipe.batch_size, len(train)))
    kept = _validation_images(file, reader, images[validation], labels[validation], source)
    validating = _validating(kept, _contents(file), source, recipe, device)
    preprocess = Preprocess(source, recipe, device, cropped=crop is not None)
    return BetonBatches(training, validating, preprocess, crop.plan if crop else lambda _: None, device)


def prepare_beton(source: DataSource) -> None:
    """Decode the validation images into the cache, if they fit into memory. Training images are decoded by FFCV."""
    file = Path(source.text.partition(":")[2])
    import_ffcv(f"data {source.text!r}")
    reader = open_reader(source.text, file)
    images = image_table(source.text, reader)
    labels = label_table(source.text, reader)
    _, validation = _split(source.text, file, labels, read_sidecar(source.text, file))
    kept = _validation_images(file, reader, images[validation], labels[validation], source)
    if fit_in_memory(kept):
        kept.decode_all("validation", _contents(file))


def _validation_images(file: Path, reader: Any, rows: np.ndarray, labels: np.ndarray, source: DataSource) -> Images:
    return Images(_Packed(file, rows, _sizes_bytes(reader, rows)), labels.tolist(), source)


def _contents(file: Path) -> str:
    """What tells other contents apart: the fingerprint covers those of a small file only."""
    found = file.stat()
    told = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    return "" if found.st_size <= HASHED_BYTES else repr(told)


def _validating(images: Images, contents: str, source: DataSource, recipe: Recipe, device: torch.device) -> Batches:
    """Validation images as timm would see them: FFCV cuts before it resizes, and averages over areas."""
    if not fit_in_memory(images):
        return StreamedBatches(images, images, source, recipe, device)
    pixels, labels = images.decode_all("validation", contents)
    kept = pixels.to(device), labels.to(device)
    return TensorBatches(kept, kept, source, recipe, device)


@dataclass(frozen=True, slots=True)
class _Packed:
    """Images of a file one by one."""

    file: Path
    rows: np.ndarray
    """(num_images,) of image_table."""
    sizes: np.ndarray
    """(num_images,) bytes that each takes."""

    def __call__(self, index: int) -> Image.Image:
        row = self.rows[index]
        with readable(f"image {index} of the validation images of {self.file}"), self.file.open("rb") as stream:
            stream.seek(int(row["data_ptr"]))
            content = stream.read(int(self.sizes[index]))
            if row["mode"] == RAW:
                width = int(row["width"])
                height = int(row["height"])
                return Image.frombytes("RGB", (width, height), content[: 3 * width * height])
            with Image.open(io.BytesIO(content)) as image:
                return as_rgb(image)


def _sizes_bytes(reader: Any, images: np.ndarray) -> np.ndarray:
    """(num_images,) bytes of each image, which `image_table` found allocated."""
    allocated = reader.alloc_table
    order = np.argsort(allocated["ptr"])
    places = np.searchsorted(allocated["ptr"], images["data_ptr"], sorter=order)
    sizes: np.ndarray = allocated["size"][order[places]]
    return sizes


class BetonBatches(Batches):
    """Training batches of an FFCV loader, in random order and without incomplete ones; validation batches of others.

    Args:
        plan: called before each epoch of training, with the generator of its random numbers.
    """

    def __init__(
        self,
        training: Any,
        validating: Batches,
        preprocess: Preprocess,
        plan: Callable[[torch.Generator], None],
        device: torch.device,
    ) -> None:
        self._training = training
        self._validating = validating
        self._preprocess = preprocess
        self._plan = plan
        self._device = device

    def train(self, seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        order = self._training.traversal_order
        while True:
            # FFCV orders epoch i by seed + i; seeds of their own per epoch keep neighbouring training seeds apart.
            order.seed = int(torch.randint(2**31, (), generator=generator)) - self._training.next_epoch
            self._plan(generator)
            for images, labels in _epoch(self._training):
                yield self._preprocess.training(images.permute(0, 3, 1, 2), generator), self._to_device(labels)

    @property
    def num_validation(self) -> int:
        return self._validating.num_validation

    def validation(self) -> Iterator[Batch]:
        return self._validating.validation()

    def _to_device(self, labels: torch.Tensor) -> torch.Tensor:
        return labels.flatten().clone().to(self._device)  # FFCV reuses the memory of its batches


def _epoch(loader: Any) -> Iterator[Any]:
    """The batches of one epoch. Who stops before its end, as every training does, must tell: FFCV's thread keeps the
    batches for ever."""
    batches = iter(loader)
    try:
        yield from batches
    finally:
        batches.close()


def _make_loader(file: Path, fields: tuple[str, str], decoder: Any, indices: np.ndarray, batch_size: int) -> Any:
    from ffcv.fields.basics import IntDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import ToTensor

    image_field, label_field = fields
    return Loader(
        str(file),
        batch_size=batch_size,
        num_workers=torch.get_num_threads(),
        os_cache=True,
        order=OrderOption.RANDOM,
        indices=indices,
        seed=0,
        drop_last=True,
        batches_ahead=BATCHES_AHEAD,
        pipelines={image_field: [decoder, ToTensor()], label_field: [IntDecoder(), ToTensor()]},
    )


def open_reader(text: str, file: Path) -> Any:
    """FFCV's reader of a file whose tables are whole.

    Raises:
        InvalidInputError: if the file is missing, truncated or not FFCV's.
    """
    from ffcv.reader import Reader
    from ffcv.types import FieldDescType, HeaderType

    try:
        size = file.stat().st_size
        header = np.fromfile(file, dtype=HeaderType, count=1)
    except OSError as error:
        raise InvalidInputError(
            f"data {text!r}: {file} cannot be read ({error.strerror}); give a file that FFCV has written"
        ) from error
    tables = HeaderType.itemsize + FieldDescType.itemsize * int(header["num_fields"][0]) if len(header) else 0
    if not len(header) or not tables + 8 * int(header["num_samples"][0]) <= int(header["alloc_table_ptr"][0]) <= size:
        raise _damaged(text, file, "its header does not fit its size")
    try:
        return Reader(str(file))
    except (AssertionError, ValueError, KeyError, IndexError, TypeError, OSError) as error:
        raise _damaged(text, file, str(error) or type(error).__name__) from error


def _field_names(text: str, reader: Any) -> tuple[str, str]:
    """Names of the image and of the label field."""
    from ffcv.fields import IntField, RGBImageField

    images = [name for name, field in reader.handlers.items() if isinstance(field, RGBImageField)]
    labels = [name for name, field in reader.handlers.items() if isinstance(field, IntField)]
    if (len(images), len(labels), len(reader.handlers)) != (1, 1, 2):
        found = ", ".join(f"{name}: {type(field).__name__}" for name, field in reader.handlers.items())
        raise InvalidInputError(
            f"data {text!r} has the fields {found}; expected exactly one RGBImageField and one IntField (the label)"
        )
    return images[0], labels[0]


def image_table(text: str, reader: Any) -> np.ndarray:
    """(num_images,) records of mode, width, height and data_ptr, each with an allocation that lies within the file.

    Raises:
        InvalidInputError: if the fields are others, or an image lies where the file has none.
    """
    images: np.ndarray = reader.metadata[f"f{reader.field_names.index(_field_names(text, reader)[0])}"]
    file = Path(reader.file_name)
    allocated = reader.alloc_table
    # One allocation per image, in any order; a table that was cut off is shorter, and FFCV would then read elsewhere.
    if not np.isin(images["data_ptr"], allocated["ptr"]).all():
        raise _damaged(text, file, f"its last table is cut off: it holds {len(allocated)} of {len(images)} entries")
    if not len(images) or min(images["width"].min(), images["height"].min()) < 1:
        raise _damaged(text, file, "its table of images holds images without a pixel")
    if (allocated["ptr"] + allocated["size"] > reader.header["alloc_table_ptr"]).any():
        raise _damaged(text, file, "its table of images points outside of the file")
    return images


def label_table(text: str, reader: Any) -> np.ndarray:
    """(num_images,) int64, counted from 0.

    Raises:
        InvalidInputError: if the fields or the labels are others, or there is no image.
    """
    labels: np.ndarray = reader.metadata[f"f{reader.field_names.index(_field_names(text, reader)[1])}"].astype(np.int64)
    if not len(labels) or labels.min() < 0 or labels.max() >= len(labels):
        raise InvalidInputError(
            f"data {text!r}: labels must count from 0; found {labels.min()} to {labels.max()}"
            if len(labels)
            else f"data {text!r} holds no image; write the file again"
        )
    return labels


def _content_chunks(file: Path) -> Iterator[bytes]:
    """The contents of a small file; of a large one, chunks at even distances."""
    size = file.stat().st_size
    starts = range(0, size, CHUNK_BYTES)
    with file.open("rb") as stream:
        for start in evenly(starts, HASHED_BYTES // CHUNK_BYTES):
            stream.seek(start)
            yield stream.read(CHUNK_BYTES)


def _damaged(text: str, file: Path, what: str) -> InvalidInputError:
    return InvalidInputError(f"data {text!r}: {file} is damaged or not written by FFCV: {what}; write or copy it again")
