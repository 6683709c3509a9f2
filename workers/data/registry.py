"""Data sets by their text: digits, cifar10:DIR, cifar100:DIR, folder:DIR, beton:FILE."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from nas.errors import InvalidInputError
from workers.data.batches import Batch, Batches
from workers.data.beton.reader import load_beton, open_beton
from workers.data.cifar import cifar_test, load_cifar, open_cifar
from workers.data.digits import digits_test, load_digits_batches, open_digits
from workers.data.image_folder import folder_test, load_folder, open_folder
from workers.data.source import DataSource
from workers.recipe import Recipe

Open = Callable[[str, str, str], DataSource]
"""(text, kind, path) -> description."""
Load = Callable[[DataSource, Recipe, torch.device], Batches]
LoadTest = Callable[[DataSource, Recipe, torch.device], Iterator[Batch]]

KINDS: Mapping[str, tuple[Open, Load]] = {
    "digits": (lambda text, kind, path: open_digits(), load_digits_batches),
    "cifar10": (open_cifar, load_cifar),
    "cifar100": (open_cifar, load_cifar),
    "folder": (lambda text, kind, path: open_folder(text, path), load_folder),
    "beton": (lambda text, kind, path: open_beton(text, path), load_beton),
}

TESTS: Mapping[str, LoadTest] = {
    "digits": digits_test,
    "cifar10": cifar_test,
    "cifar100": cifar_test,
    "folder": folder_test,
}
"""Kinds of data that may have test images."""

EXPECTED = "digits, cifar10:DIR, cifar100:DIR, folder:DIR or beton:FILE"


def open_data(text: str) -> DataSource:
    """Find a data set, check that all of it can be used, and describe it. Writes nothing, but a note beside a large
    packed file.

    Raises:
        InvalidInputError: if the text is not understood, or the data are missing, damaged or useless (one class, an
            empty class).
    """
    kind, _, path = text.partition(":")
    if kind not in KINDS:
        raise InvalidInputError(f"data {text!r} is unknown; expected {EXPECTED}")
    if (kind == "digits") == bool(path):
        raise InvalidInputError(
            f"data {text!r}: {'digits takes no path' if path else 'the path is missing'}; expected {EXPECTED}"
        )
    source = KINDS[kind][0](text, kind, path)
    return replace(source, text=f"{kind}:{Path(path).expanduser().resolve()}") if path else source


def open_same_data(text: str, expected: str | None) -> DataSource:
    """open_data, for data that a study has used already.

    Args:
        expected: the study's fingerprint; None takes the data as they are.

    Raises:
        InvalidInputError: as open_data, and if the data are not those of the fingerprint.
    """
    source = open_data(text)
    if expected not in (None, source.fingerprint):
        raise InvalidInputError(
            f"data {text!r} on this host differ from those of the study (fingerprint {source.fingerprint[:12]}, "
            f"expected {str(expected)[:12]}); copy the same files to every node"
        )
    return source


def load_data(source: DataSource, recipe: Recipe, device: torch.device) -> Batches:
    """Make the data set ready for training on `device`.

    Raises:
        InvalidInputError: if the data have become unreadable since they were opened.
    """
    return KINDS[source.kind][1](source, recipe, device)


def load_test(source: DataSource, recipe: Recipe, device: torch.device) -> Iterator[Batch]:
    """Every test image of a data set that has some (`source.num_test`) once, unchanged.

    Raises:
        InvalidInputError: if the data have become unreadable since they were opened.
    """
    assert source.num_test, f"{source.text} has no test images"
    return TESTS[source.kind](source, recipe, device)
