"""Finds a space: one of ours by its name, one of a user's own by its module (space_module.py).

A space of ours is one module of this package with a line `SPACE: SpaceFactory = ...`; nothing is listed here.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import InvalidInputError
from nas.protocols import SearchSpace
from nas.records import JSON, StudyRecord
from search_spaces.architecture.spec import Architecture
from search_spaces.own_traits import check_traits
from search_spaces.space_module import SpaceModule, find_module

SpaceFactory = Callable[[str, int, int, int], SearchSpace]
"""(scale, image_size, in_chans, num_classes) -> the space."""

CHOICE = "mixers"
"""Parameter of the factory of a space that offers a choice of mixers."""
SETTING = ("image_size", "in_chans", "num_classes")
"""What the spec of every network says, so that a study can be read without its data."""
ENTRY_POINTS = "hybrid_nas.spaces"
"""Group in which an installed package names its spaces: NAME = "package.module", a module that holds SPACE."""
_MEMBERS = tuple(name for name in vars(SearchSpace) if not name.startswith("_"))


def space_names() -> tuple[str, ...]:
    """The modules that define a space of ours, by name. None is imported for it."""
    modules = Path(__file__).parent.glob("*.py")
    return tuple(
        sorted(module.stem for module in modules if "\nSPACE: SpaceFactory = " in module.read_text(encoding="utf-8"))
    )


def installed_spaces() -> dict[str, str]:
    """Spaces that other packages have installed: name -> module. None is imported for it."""
    ours = space_names()
    return {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS) if entry.name not in ours}


def known_names() -> tuple[str, ...]:
    """Every space that has a name: ours, and those that other packages have installed."""
    return (*space_names(), *sorted(installed_spaces()))


def offers_mixers(name: str) -> bool:
    """Whether the space of ours with that name offers a choice of mixers."""
    return CHOICE in signature(import_module(f"search_spaces.{name}").SPACE).parameters


def find_own(given: str) -> SpaceModule | None:
    """The module of a user's own space; None for a space of ours.

    Args:
        given: name of a space of ours or of an installed package, a path ending in .py, or the dotted name of a module.

    Raises:
        InvalidInputError: if it is none of these, or the file cannot be read.
    """
    if given in space_names():
        return None
    module = find_module(given) or find_module(installed_spaces().get(given, ""))
    if module is None:
        raise InvalidInputError(
            f"unknown space {given!r}; expected one of {', '.join(known_names())}, or a FILE.py or package.module that "
            "holds SPACE"
        )
    return module


def make_space(
    given: str, scale: str, image_size: int, in_chans: int, num_classes: int, mixers: str | None = None
) -> SearchSpace:
    """A space for square images of `image_size` pixels.

    Args:
        given: name of a space of ours, a path ending in .py, or the dotted name of a module.
        mixers: what it may choose among, where it has a choice; None for its default.

    Raises:
        InvalidInputError: if there is no such space, its module is not as it must be, the scale or a mixer is unknown,
            it has no choice of mixers, or the images do not fit.
    """
    module = find_own(given)
    if module is None:
        ours: Any = import_module(f"search_spaces.{given}").SPACE
        if mixers is not None and not offers_mixers(given):
            raise _no_choice(given, mixers)
        choice = () if mixers is None else (mixers,)
        made: SearchSpace = ours(scale, image_size, in_chans, num_classes, *choice)
        return made
    if mixers is not None:
        raise _no_choice(given, mixers)
    factory = _factory(module)
    with module.blamed():
        space = factory(scale, image_size, in_chans, num_classes)
        _check_space(module, space)
        _check_networks(module, space)
        check_traits(module.origin, space)
    return space


def _no_choice(space: str, mixers: str) -> InvalidInputError:
    return InvalidInputError(
        f"--mixers is {mixers!r}, and the space {space!r} offers no choice of mixers; leave --mixers out"
    )


def open_space(study: StudyRecord, spec: JSON) -> SearchSpace:
    """The space that a study searched, as its module is today.

    Args:
        study: the study.
        spec: of any of its trials. Images and classes are taken from it, so that the data need not be here.

    Raises:
        InvalidInputError: if the space is gone. It may have changed: search_spaces/recorded.py proves what is left.
    """
    image_size, in_chans, num_classes = (int(spec[name]) for name in SETTING)
    try:
        given = study.space_module or study.space
        return make_space(given, study.scale, image_size, in_chans, num_classes, study.mixers or None)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"study {study.name!r} searched the space {study.space!r}, which is not as it was: {error}"
        ) from error


def building_module(study: StudyRecord, spec: JSON) -> SpaceModule | None:
    """The module that builds the networks of a study; None where they are made of our blocks.

    Args:
        study: the study.
        spec: of any of its trials.

    Raises:
        InvalidInputError: if the networks are its own and it is gone, or its space has changed.
    """
    if not study.space_module or _is_ours(spec):
        return None
    if open_space(study, spec).space_hash != study.space_hash:
        raise InvalidInputError(
            f"study {study.name!r} searched the space {study.space!r} of {study.space_module}, which has changed and "
            "may build other networks; put it back as it was"
        )
    return find_own(study.space_module)


def require_ours(study: StudyRecord, spec: JSON) -> None:
    """Refuse networks that a zoo entry cannot carry.

    Raises:
        InvalidInputError: if the networks of the study are built by a module of the user's own.
    """
    module = building_module(study, spec)
    if module is not None:
        raise InvalidInputError(
            f"the networks of study {study.name!r} are built by {module.origin}, and a zoo entry carries the networks "
            "of this project only; take the weights from the artifacts of the study"
        )


def _factory(module: SpaceModule) -> SpaceFactory:
    held = vars(module.load())
    if "SPACE" not in held:
        raise InvalidInputError(
            f"{module.origin} holds no SPACE; expected SPACE = a function of scale, image_size, in_chans, num_classes"
        )
    if not callable(held["SPACE"]):
        raise InvalidInputError(
            f"SPACE of {module.origin} is {held['SPACE']!r}; expected a function of scale, image_size, in_chans, "
            "num_classes"
        )
    factory: SpaceFactory = held["SPACE"]
    return factory


def _check_space(module: SpaceModule, space: Any) -> None:
    """Refuse what lacks a part of nas.protocols.SearchSpace, or is called like a space of ours."""
    missing = sorted(set(_MEMBERS) - set(dir(space)))
    if missing:
        raise InvalidInputError(
            f"SPACE of {module.origin} gives a {type(space).__name__} without {', '.join(missing)}; expected a "
            "nas.protocols.SearchSpace"
        )
    if space.name in space_names():
        raise InvalidInputError(
            f"the space of {module.origin} is named {space.name!r} like one of ours; give it a name of its own"
        )


def _check_networks(module: SpaceModule, space: SearchSpace) -> None:
    """Refuse a space of whose networks a first sample cannot be described or built."""
    spec = space.architecture(space.repair(space.sample(np.random.default_rng(0)))).to_spec()
    missing = [name for name in SETTING if name not in spec]
    if missing:
        raise InvalidInputError(f"the specs of {module.origin} lack {', '.join(missing)}; every spec needs them")
    if module.builds():
        # Only the spec tells a recorded study's networks from ours when its module is gone.
        if _is_ours(spec):
            raise InvalidInputError(
                f"{module.origin} defines build, and its specs are those of our blocks; drop build, or give the specs "
                "a key of their own"
            )
        return
    try:
        Architecture.from_spec(spec)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"the networks of {module.origin} are none of ours ({error}); make them of our blocks, or define "
            "build(spec, drop_path_rate)"
        ) from error


def _is_ours(spec: JSON) -> bool:
    """Whether a spec describes a network of our blocks."""
    try:
        Architecture.from_spec(spec)
    except InvalidInputError:
        return False
    return True
