"""Random crops while FFCV decodes, drawn beforehand from the seed of the training. Imported only where FFCV is there.

FFCV's own random crop draws from a generator of each of its threads, so no seed gives it again. Here the rectangles of
an epoch lie in an array that the compiled code reads; its address is all that is compiled in.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ffcv.fields.rgb_image import IMAGE_MODES, ResizedCropRGBImageDecoder
from ffcv.libffcv import ctypes_memcopy, imdecode, resize_crop
from ffcv.pipeline.compiler import Compiler

from workers.data.batches import random_rectangles
from workers.recipe import Recipe


class PlannedCropDecoder(ResizedCropRGBImageDecoder):  # type: ignore[misc] # FFCV has no types
    """Cuts each image's rectangle out of it, resizes it (averaging over areas) and mirrors it or not; (side, side, 3)
    uint8.

    Args:
        side: of the output, pixels.
        width_N, height_N: (num_images,) of the images in the file, pixels.
        recipe: says how small a rectangle may be, and whether half of the images are mirrored.
    """

    def __init__(self, side: int, width_N: np.ndarray, height_N: np.ndarray, recipe: Recipe) -> None:
        super().__init__((side, side))
        self._width = width_N
        self._height = height_N
        self._recipe = recipe
        self._plan = np.zeros((len(width_N), 5), dtype=np.int64)
        """Top, left, height and width of each image's rectangle, and 1 where it is mirrored."""

    def plan(self, generator: torch.Generator) -> None:
        """Draw for the epoch that follows."""
        self._plan[:, :4] = draw_rectangles(self._width, self._height, self._recipe.min_crop_area, generator)
        if self._recipe.horizontal_flip:
            self._plan[:, 4] = torch.randint(2, (len(self._plan),), generator=generator).numpy()

    @property
    def get_crop_generator(self) -> None:
        """Asked for by FFCV's base class, and not used."""

    def generate_code(self) -> Callable[..., Any]:
        read = self.memory_read
        each = Compiler.get_iterator()
        decode_jpeg = Compiler.compile(imdecode)
        resize = Compiler.compile(resize_crop)
        jpeg = IMAGE_MODES["jpg"]
        address = self._plan.ctypes.data
        row_bytes = self._plan.strides[0]

        def decode(indices: Any, memory: Any, metadata: Any, state: Any) -> Any:
            crops, whole = memory
            for place in each(len(indices)):
                index = indices[place]
                image = metadata[index]
                height = np.uint32(image["height"])
                width = np.uint32(image["width"])
                pixels = read(image["data_ptr"], state)
                if image["mode"] == jpeg:
                    compressed = pixels
                    pixels = whole[place]
                    decode_jpeg(compressed, pixels, height, width, height, width, 0, 0, 1, 1, False, False)
                plan = np.empty(5, dtype=np.int64)
                ctypes_memcopy(address + index * row_bytes, plan.ctypes.data, row_bytes)
                pixels = pixels.reshape(-1)[: 3 * height * width].reshape(height, width, 3)
                resize(pixels, plan[0], plan[0] + plan[2], plan[1], plan[1] + plan[3], crops[place])
                if plan[4]:
                    crops[place] = crops[place][:, ::-1].copy()
            return crops[: len(indices)]

        decode.is_parallel = True  # type: ignore[attr-defined]
        return decode


def draw_rectangles(
    width_N: np.ndarray, height_N: np.ndarray, min_area: float, generator: torch.Generator
) -> np.ndarray:
    """`random_rectangles` in whole pixels.

    Args:
        width_N, height_N: (num_images,) of the images, pixels.
        min_area: smallest share of the image.

    Returns:
        (num_images, 4) int64: top, left, height, width, within the image.
    """
    sides = np.stack([width_N, height_N], axis=1).astype(np.int64)
    extent, centre = random_rectangles(torch.from_numpy(sides[:, 1] / sides[:, 0]), min_area, generator)
    parts = np.clip(np.rint(extent.numpy() * sides), 1, sides)
    starts = np.clip(np.rint((1 + centre.numpy()) / 2 * sides - parts / 2), 0, sides - parts)
    return np.concatenate([starts[:, ::-1], parts[:, ::-1]], axis=1).astype(np.int64)
