"""What is known about a data set before it is loaded."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(kw_only=True, frozen=True, slots=True)
class DataSource:
    """A data set that `open_data` has found complete and readable. Nothing of it is held in memory."""

    text: str
    """As given: digits, cifar10:DIR, ..."""
    kind: str
    """The part of the text before the colon."""
    name: str
    """Short name for the study: letters, digits, dots and dashes."""
    num_classes: int
    in_chans: int
    image_size: int
    """Side of the square images that the model sees, pixels."""
    mean: tuple[float, ...]
    """Per channel, of images scaled to [0, 1]."""
    std: tuple[float, ...]
    num_train: int
    """Images."""
    num_validation: int
    fingerprint: str
    """SHA-256 (64 hex digits) over names, sizes and contents; see docs/data.md for how much of the contents of large sets."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return self.in_chans, self.image_size, self.image_size


def fingerprint(parts: Iterable[bytes]) -> str:
    """SHA-256 over the parts, each with its length, so that moving a boundary changes it."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
