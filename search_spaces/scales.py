"""How large the networks of a scale are, and how many stages an image leaves room for. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from nas.errors import InvalidInputError

FIRST_STRIDE = 4
"""Side of an image divided by that of the first stage's map: that of every stem that is searched."""
SMALLEST_MAP = 2
"""Positions on a side of the last stage's map that a stage is still worth."""
SMALL_IMAGE = 96
"""Images below this size get BatchNorm in every stem: short trainings on them drown in noise without it."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Values of the size genes; one tuple per stage, of which small images use the first two or three."""

    depths: tuple[tuple[int, ...], ...]
    widths: tuple[tuple[int, ...], ...]
    ratios: tuple[int, ...]
    head_dims: tuple[int, ...]


SCALES: Mapping[str, Scale] = {
    "nano": Scale(
        depths=((1, 2), (1, 2, 3), (1, 2), (1, 2)),
        widths=((16, 24, 32, 40), (32, 40, 48, 64), (48, 64, 80, 96), (64, 80, 96, 120)),
        ratios=(2, 3, 4),
        head_dims=(8, 16, 24, 32),
    ),
    "mobile": Scale(
        depths=((1, 2, 3), (2, 3, 4), (4, 6, 8, 12), (2, 3, 4)),
        widths=((32, 40, 48, 64), (64, 80, 96, 128), (120, 128, 160, 192), (160, 192, 240, 256)),
        ratios=(2, 3, 4, 8),
        head_dims=(16, 24, 32, 64),
    ),
    "tiny": Scale(
        depths=((2, 3, 4), (2, 3, 4), (6, 8, 9, 12), (2, 3, 4)),
        widths=((64, 80, 96), (128, 160, 192), (192, 240, 320, 384), (240, 320, 512, 640)),
        ratios=(2, 3, 4, 8),
        head_dims=(16, 24, 32, 64),
    ),
    "small": Scale(
        depths=((2, 3, 4), (2, 3, 4, 6), (9, 12, 18, 24), (2, 3, 4)),
        widths=((64, 80, 96, 128), (128, 160, 192, 256), (256, 320, 384, 512), (320, 512, 640, 768)),
        ratios=(2, 3, 4, 8),
        head_dims=(16, 24, 32, 64),
    ),
    "base": Scale(
        depths=((2, 3, 4, 8), (3, 4, 6, 8), (12, 18, 24, 27), (3, 4, 8)),
        widths=((96, 128, 160, 200), (192, 240, 256, 320), (320, 384, 512, 640), (480, 640, 768, 1024)),
        ratios=(2, 3, 4, 8),
        head_dims=(16, 24, 32, 64),
    ),
}


def find_scale(name: str) -> Scale:
    """The scale of that name.

    Raises:
        InvalidInputError: if there is none; the message lists the known ones.
    """
    if name not in SCALES:
        raise InvalidInputError(f"unknown scale {name!r}; expected one of {', '.join(SCALES)}")
    return SCALES[name]


def stage_map_sizes(image_size: int) -> tuple[int, ...]:
    """Side of each stage's map: 2 to 4 stages at strides 4, 8, 16, 32, as many as keep whole maps of at least 2 x 2
    positions.

    Raises:
        InvalidInputError: if the image leaves no room for two stages.
    """
    for count in (4, 3, 2):
        strides = [FIRST_STRIDE * 2**stage for stage in range(count)]
        if image_size % strides[-1] == 0 and image_size // strides[-1] >= SMALLEST_MAP:
            return tuple(image_size // stride for stride in strides)
    raise InvalidInputError(
        f"image size {image_size} does not divide into stages; expected a multiple of 8 from 16 on, such as 32 or 224"
    )


def check_setting(image_size: int, in_chans: int, num_classes: int) -> None:
    """Refuse images and class counts that no network takes.

    Raises:
        InvalidInputError: naming the number that is wrong.
    """
    stage_map_sizes(image_size)
    if in_chans < 1:
        raise InvalidInputError(f"{in_chans} input channels given; expected at least 1")
    if num_classes < 2:
        raise InvalidInputError(f"{num_classes} classes given; expected at least 2")
