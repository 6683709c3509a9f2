"""What is known of `digits` before its canvases are drawn, which takes torch: nothing of it can be missing."""

from typing import Literal

from workers.data.source import DataSource

IMAGE_SIZE = 32
NUM_CLASSES = 10

Split = Literal["train", "validation", "test"]
NUM_CANVASES: dict[Split, int] = {"train": 4096, "validation": 1024}
"""What a search sees."""
NUM_TEST = 1024
"""Canvases for the report of a finished model; no search sees them."""
DIGITS = DataSource(
    text="digits",
    kind="digits",
    name="digits",
    num_classes=NUM_CLASSES,
    # The digits are grey; copying them into three channels would make every stem dearer and tell it nothing.
    in_chans=1,
    image_size=IMAGE_SIZE,
    mean=(),
    std=(),
    label_names=tuple(map(str, range(NUM_CLASSES))),
    num_train=NUM_CANVASES["train"],
    num_validation=NUM_CANVASES["validation"],
    num_test=NUM_TEST,
    fingerprint="",
)
"""Mean, deviation and fingerprint are those of the pixels, and not known yet."""


def outline(text: str) -> DataSource | None:
    """What is known of data that always can be opened, before they are; None for all others.

    Args:
        text: as workers.data.registry.open_data takes it.
    """
    return DIGITS if text == DIGITS.text else None
