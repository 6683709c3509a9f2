"""Data sets by their text: digits, cifar10:DIR, cifar100:DIR, folder:DIR, beton:FILE."""

from collections.abc import Callable, Mapping

import torch

from nas.errors import InvalidInputError
from workers.batches import Batches
from workers.data_source import DataSource
from workers.digits import load_digits_batches, open_digits
from workers.recipe import Recipe

Load = Callable[[DataSource, Recipe, torch.device], Batches]

EXPECTED = "digits, cifar10:DIR, cifar100:DIR, folder:DIR or beton:FILE"


def open_data(text: str) -> DataSource:
    """Find a data set, check that all of it can be used, and describe it. Writes nothing.

    Raises:
        InvalidInputError: if the text is not understood, or the data are missing, damaged or useless (one class, an empty class).
    """
    if text == "digits":
        return open_digits()
    raise InvalidInputError(f"data {text!r} is unknown; expected {EXPECTED}")


def load_data(source: DataSource, recipe: Recipe, device: torch.device) -> Batches:
    """Make the data set ready for training on `device`."""
    return LOADERS[source.kind](source, recipe, device)


LOADERS: Mapping[str, Load] = {"digits": load_digits_batches}
