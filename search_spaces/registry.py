"""Finds a space by its name. A space is one module of this package with a line `SPACE: SpaceFactory = ...`; nothing is
listed here."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from nas.errors import InvalidInputError
from nas.protocols import SearchSpace

SpaceFactory = Callable[[str, int, int, int], SearchSpace]
"""(scale, image_size, in_chans, num_classes) -> the space."""


def space_names() -> tuple[str, ...]:
    """The modules that define a space, by name. None is imported for it."""
    modules = Path(__file__).parent.glob("*.py")
    return tuple(
        sorted(module.stem for module in modules if "\nSPACE: SpaceFactory = " in module.read_text(encoding="utf-8"))
    )


def make_space(name: str, scale: str, image_size: int, in_chans: int, num_classes: int) -> SearchSpace:
    """The space of that name for square images of `image_size` pixels.

    Raises:
        InvalidInputError: if the name or the scale is unknown, or the images do not fit.
    """
    if name not in space_names():
        raise InvalidInputError(f"unknown space {name!r}; expected one of {', '.join(space_names())}")
    factory: SpaceFactory = import_module(f"search_spaces.{name}").SPACE
    return factory(scale, image_size, in_chans, num_classes)
