"""Random crops while FFCV decodes, drawn beforehand from the seed of the training. Imported only where FFCV is there.

FFCV's own random crop draws from a generator of each of its threads, so no seed gives it again. Here the rectangles of an epoch lie in an
array that the compiled code reads; its address is all that is compiled in.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ffcv.fields.rgb_image import IMAGE_MODES, ResizedCropRGBImageDecoder
from ffcv.libffcv import ctypes_memcopy, imdecode, resize_crop
from ffcv.pipeline.compiler import Compiler

from workers.recipe import Recipe

MAX_ASPECT = 4 / 3
"""Of a rectangle's sides, either way."""


class PlannedCropDecoder(ResizedCropRGBImageDecoder):  # type: ignore[misc] # FFCV has no types
    """Cuts each image's rectangle out of it, resizes it (averaging over areas) and mirrors it or not; (side, side, 3) uint8.

    Args:
        side: of the output, pixels.
        width_N, height_N: (num_images,) of the images in the file, pixels.
        recipe: says how small a rectangle may be, and whether half of the images are mirrored.
    """

    def __init__(self, side: int, width_N: np.ndarray, height_N: np.ndarray, recipe: Recipe) -> None:
        super().__init__((side, side))
        self._width, self._height, self._recipe = width_N, height_N, recipe
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
        read, each = self.memory_read, Compiler.get_iterator()
        decode_jpeg, resize = Compiler.compile(imdecode), Compiler.compile(resize_crop)
        jpeg, address, row_bytes = IMAGE_MODES["jpg"], self._plan.ctypes.data, self._plan.strides[0]

        def decode(indices: Any, memory: Any, metadata: Any, state: Any) -> Any:
            crops, whole = memory
            for place in each(len(indices)):
                index = indices[place]
                image = metadata[index]
                height, width = np.uint32(image["height"]), np.uint32(image["width"])
                pixels = read(image["data_ptr"], state)
                if image["mode"] == jpeg:
                    compressed, pixels = pixels, whole[place]
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


def draw_rectangles(width_N: np.ndarray, height_N: np.ndarray, min_area: float, generator: torch.Generator) -> np.ndarray:
    """Rectangles of random size, shape and place, as workers.batches.random_resized_crop has them, but in whole pixels.

    Args:
        width_N, height_N: (num_images,) of the images, pixels.
        min_area: smallest share of the image.

    Returns:
        (num_images, 4) int64: top, left, height, width, within the image.
    """
    area, aspect, row, column = torch.rand(4, len(width_N), generator=generator, dtype=torch.float64).numpy()
    sides = np.sqrt((min_area + (1 - min_area) * area) * width_N * height_N)
    stretch = np.exp(math.log(MAX_ASPECT) * (aspect - 0.5))  # the root of the aspect ratio
    width, height = np.clip(np.rint(sides * stretch), 1, width_N), np.clip(np.rint(sides / stretch), 1, height_N)
    top, left = np.floor(row * (height_N - height + 1)), np.floor(column * (width_N - width + 1))
    return np.stack([top, left, height, width], axis=1).astype(np.int64)
