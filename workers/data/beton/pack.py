"""`launch.py pack`: the images of a data set in one FFCV file, complete and verified or not there at all."""

import contextlib
import fcntl
import io
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from nas.errors import InvalidInputError, NasError
from nas.files import check_file, check_folder, write_whole
from workers.data.beton.reader import image_table, label_table, open_reader
from workers.data.beton.sidecar import Sidecar, read_sidecar, sha256_of, sidecar_path
from workers.data.beton.writer import BetonWriter, EncodedImage, encode_image, import_ffcv
from workers.data.registry import open_images
from workers.data.source import LabelledImages, evenly
from workers.devices import fitting_workers, num_cores
from workers.processes import environment, follow_parent

SIZES = range(32, 4097)
"""Admitted for the longest side, pixels: the smallest side that a search uses, and what keeps FFCV's pages below 64
MiB."""
CHUNK = 32
"""Images per order to a process."""
DECODED = 4096
"""Images of the finished file that are decoded again, at even distances."""

Show = Callable[[int, int], object]
"""(images done, all images)."""


def pack_images(
    text: str,
    file: Path,
    *,
    max_size: int,
    workers: int | None,
    force: bool,
    show: Show,
    say: Callable[[str], object] = lambda line: None,
) -> Sidecar:
    """Write the images of a data set to an FFCV file with a sidecar: all training images, then all validation images.

    The file grows under a hidden name and takes its own when it is complete and verified, after its sidecar, without
    which it would be split otherwise. What an earlier run of the same command left under the hidden name is
    overwritten.

    Args:
        text: of a kind of data that can be packed (workers/data/registry.py).
        max_size: longest side of an image in the file, pixels; larger images are reduced.
        workers: processes that decode and encode; None for one per core.
        force: replace an existing file.
        show: hears how many images are packed.
        say: takes a line about what lies among the images and is none.

    Raises:
        InvalidInputError: if an argument is wrong, the file exists, or an image cannot be read; nothing is left then.
        NasError: if the file cannot be written (no space left), or what was written is not what was to be.
    """
    _check_arguments(file, max_size, workers, force)
    import_ffcv("packing")
    source, images = open_images(text)
    if images.passed_over:
        say(f"passed over {images.passed_over}")
    part = file.with_name(f".{file.name}.part")
    try:
        with _claimed(part) as stream:
            writer = BetonWriter(stream, images.labels, max_size)
            processes = fitting_workers(workers or num_cores(), 0.0)
            with contextlib.closing(_encoded(images, max_size, processes, stream.fileno())) as encoded:
                for done, image in enumerate(encoded, start=1):
                    writer.add(image)
                    if done % CHUNK == 0 or done == len(images.labels):
                        show(done, len(images.labels))
            writer.finish()
            os.fsync(stream.fileno())
            _verify(part, images)
            sidecar = Sidecar(
                source=source,
                class_names=images.class_names,
                num_train=images.num_train,
                num_validation=len(images.labels) - images.num_train,
                max_size=max_size,
                file_bytes=part.stat().st_size,
                sha256=sha256_of(part),
            )
            _refuse_existing(file, force)  # it may have come meanwhile
            write_whole(sidecar_path(file), sidecar.to_text().encode(), durable=True)
            part.replace(file)
    except OSError as error:
        raise NasError(
            f"{file} cannot be written ({error.strerror}), nothing is left of it; make room or choose another folder"
        ) from error
    except BrokenProcessPool as error:
        raise NasError(
            f"a process that packed {file} was ended, perhaps for lack of memory; give fewer --workers"
        ) from error
    return sidecar


def _check_arguments(file: Path, max_size: int, workers: int | None, force: bool) -> None:
    if max_size not in SIZES:
        raise InvalidInputError(f"--max-size is {max_size}; expected {SIZES[0]} to {SIZES[-1]} pixels")
    if workers is not None and workers < 1:
        raise InvalidInputError(f"--workers is {workers}; expected at least 1")
    check_file(file, [".beton"])
    check_folder(file.parent, "FILE")
    _refuse_existing(file, force)


def _refuse_existing(file: Path, force: bool) -> None:
    """A sidecar alone is what a kill between the two left; a file of that name that is none belongs to somebody."""
    if force:
        return
    if file.exists():
        raise InvalidInputError(f"{file} exists; give another name, or --force to replace it")
    read_sidecar(f"beton:{file}", file)


@contextlib.contextmanager
def _claimed(part: Path) -> Iterator[BinaryIO]:
    """The hidden file, empty and locked for this process while it lives; removed when an error ends the work."""
    with open(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidInputError(
                f"{part} is being written by another process; wait for it, or choose another name"
            ) from error
        if not part.exists() or not os.path.samestat(os.fstat(stream.fileno()), part.stat()):
            raise InvalidInputError(
                f"{part} was completed or removed by another process at this moment; look at what it left"
            )
        try:
            stream.truncate()
            yield stream
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _encoded(images: LabelledImages, max_size: int, workers: int, claim: int) -> Generator[EncodedImage, None, None]:
    """All images in order, decoded, reduced and encoded by processes; a few orders ahead of the reader."""
    # Forked, as in FFCV's own writer: the images of an archive are shared and not copied.
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(images, max_size, claim))
    orders: deque[Future[list[EncodedImage]]] = deque()
    try:
        for start in range(0, len(images.labels), CHUNK):
            with environment():  # the first order starts the processes
                orders.append(pool.submit(_encode, range(start, min(start + CHUNK, len(images.labels)))))
            if len(orders) > 4 * workers:
                yield from orders.popleft().result()
        while orders:
            yield from orders.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


_work: tuple[LabelledImages, int]
"""In a process of the pool: images and max_size."""


def _begin(images: LabelledImages, max_size: int, claim: int) -> None:
    global _work
    _work = images, max_size
    os.close(claim)  # else the lock would outlive a coordinator that was killed
    follow_parent()


def _encode(indices: range) -> list[EncodedImage]:
    images, max_size = _work
    return [encode_image(_checked(images, index, max_size), max_size) for index in indices]


def _checked(images: LabelledImages, index: int, max_size: int) -> np.ndarray:
    pixels = images.read(index)
    height, width = pixels.shape[:2]
    if min(height, width) * max_size < max(height, width):
        raise InvalidInputError(
            f"{images.name_of(index)} has {width} x {height} pixels, of which nothing is left at --max-size "
            f"{max_size}; remove it"
        )
    return pixels


def _verify(part: Path, images: LabelledImages) -> None:
    """Open the file as a search does; compare number and labels, and decode images at even distances.

    Raises:
        NasError: if anything differs.
    """
    try:
        reader = open_reader(f"beton:{part}", part)
        table = image_table(f"beton:{part}", reader)
        labels = label_table(f"beton:{part}", reader)
    except InvalidInputError as error:
        raise NasError(f"what was written cannot be read: {error}; try again on another disk") from error
    if not np.array_equal(labels, images.labels):
        raise NasError(f"what was written to {part} has other labels than the source; try again on another disk")
    with part.open("rb") as stream:
        for index in evenly(range(len(table)), DECODED):
            stream.seek(int(table["data_ptr"][index]))
            content = stream.read(int(reader.alloc_table["size"][index]))
            if not _decodes(content, table[index]):
                raise NasError(
                    f"{images.name_of(index)} cannot be decoded from what was written to {part}; try again on "
                    "another disk"
                )


def _decodes(content: bytes, row: np.void) -> bool:
    from ffcv.fields.rgb_image import IMAGE_MODES

    size = int(row["width"]), int(row["height"])
    if row["mode"] == IMAGE_MODES["raw"]:
        return len(content) == 3 * size[0] * size[1]
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return image.size == size
    except (OSError, ValueError, SyntaxError):
        return False
