"""FFCV's file format, written by one process.

FFCV's own writer waits for ever when one of its processes fails (an unreadable image, a full disk), and orders the
images differently in every run. This one raises, and the same images give the same bytes. Images are encoded by FFCV's
own field, and the tables are FFCV's types. Source of the layout: ffcv/writer.py, ffcv/memory_allocator.py and
ffcv/types.py of FFCV 1.0.2.
"""

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import torch

from nas.errors import InvalidInputError

JPEG_QUALITY = 90
"""FFCV's own default."""
RAW_SIDE = 64
"""Images whose longer side is at most this are kept as pixels: JPEG harms small images most and saves little there."""
MIN_PAGE_BYTES = 2**21
"""The smallest page that FFCV admits."""


def import_ffcv(what: str) -> None:
    """Make sure that FFCV is there; the number of torch's threads stays as it is.

    Raises:
        InvalidInputError: if it cannot be imported; `what` begins the message.
    """
    threads = torch.get_num_threads()
    try:
        import ffcv.fields
        import ffcv.reader
        import ffcv.types  # noqa: F401 - what others import after this
    except ImportError as error:
        raise InvalidInputError(
            f"{what} needs FFCV, which cannot be imported ({error}); install the extra `ffcv` (system packages: "
            "see .ci/run)"
        ) from error
    finally:
        torch.set_num_threads(threads)  # the first import of FFCV sets one thread for the whole process


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image as it lies in the file."""

    table_row: np.ndarray
    """(1,) of the image field's type: mode, width, height; the place in the file is still open."""
    content: bytes
    """JPEG, or height x width x 3 pixels."""


def encode_image(pixels: np.ndarray, max_size: int) -> EncodedImage:
    """Reduce an image whose longer side is above max_size (averaging areas), and encode it.

    Args:
        pixels: (height, width, 3) uint8; the shorter side stays at least one pixel long.
    """
    from ffcv.fields import RGBImageField

    mode = "raw" if min(max(pixels.shape[:2]), max_size) <= RAW_SIDE else "jpg"
    field = RGBImageField(write_mode=mode, max_resolution=max_size, jpeg_quality=JPEG_QUALITY)
    row = np.zeros(1, dtype=field.metadata_type)
    contents: list[np.ndarray] = []

    def reserve(size: int) -> tuple[int, np.ndarray]:
        contents.append(np.empty(size, dtype=np.uint8))
        return 0, contents[-1]

    field.encode(row, pixels, reserve)
    return EncodedImage(row, contents[-1].tobytes())


class BetonWriter:
    """Writes header, fields, table of samples, pages of images and table of allocations, in this order. No image
    crosses the end of a page.

    Args:
        stream: empty and seekable.
        labels: (num_images,) int64; images are added in their order.
        max_size: longest side of an image, pixels; it decides how large a page must be.

    Raises:
        OSError: from every method, if the disk is full, for example.
    """

    def __init__(self, stream: BinaryIO, labels: np.ndarray, max_size: int) -> None:
        from ffcv.fields import IntField, RGBImageField
        from ffcv.types import ALLOC_TABLE_TYPE, CURRENT_VERSION, FieldDescType, HeaderType, get_metadata_type

        fields = {"image": RGBImageField(), "label": IntField()}
        self._stream = stream
        self._added = 0
        self._header = np.zeros(1, dtype=HeaderType)
        # An image of pixels needs at most 3 * max_size**2 bytes; a JPEG of noise stays below that.
        self._page = max(MIN_PAGE_BYTES, 1 << (3 * max_size**2 - 1).bit_length())
        self._header["version"] = CURRENT_VERSION
        self._header["num_fields"] = len(fields)
        self._header["page_size"] = self._page
        self._header["num_samples"] = len(labels)
        self._fields = np.zeros(len(fields), dtype=FieldDescType)
        for row, (name, field) in zip(self._fields, fields.items(), strict=True):
            row["type_id"] = _type_id(field)
            row["name"][: len(name)] = np.frombuffer(name.encode("ascii"), dtype=np.uint8)
        self._samples = np.zeros(len(labels), dtype=get_metadata_type(list(fields.values())))
        self._samples["f1"] = labels
        self._allocations = np.zeros(len(labels), dtype=ALLOC_TABLE_TYPE)
        self._write_tables()
        self._fill_page()

    def add(self, image: EncodedImage) -> None:
        """Append the next image."""
        place = self._stream.tell()
        if place % self._page + len(image.content) > self._page:
            self._fill_page()
            place = self._stream.tell()
        self._stream.write(image.content)
        self._samples["f0"][self._added] = image.table_row[0]
        self._samples["f0"]["data_ptr"][self._added] = place
        self._allocations[self._added] = self._added, place, len(image.content)
        self._added += 1

    def finish(self) -> None:
        """Complete the last page and the tables."""
        assert self._added == len(self._samples)
        self._fill_page()
        self._header["alloc_table_ptr"] = self._stream.tell()
        self._stream.write(self._allocations.tobytes())
        self._stream.seek(0)
        self._write_tables()
        self._stream.flush()

    def _write_tables(self) -> None:
        for table in (self._header, self._fields, self._samples):
            self._stream.write(table.tobytes())

    def _fill_page(self) -> None:
        self._stream.write(bytes(-self._stream.tell() % self._page))


def _type_id(field: Any) -> int:
    from ffcv.types import TYPE_ID_HANDLER

    return int(next(number for number, kind in TYPE_ID_HANDLER.items() if kind is type(field)))
