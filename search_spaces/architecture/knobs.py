"""Knobs of mixers and feed-forwards: what they may be set to. Imports no torch.

An option is a pair of texts, (knob, value). A block names those only that are not at their first value, sorted, so that
one network has one spec.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Integer:
    """A knob that takes whole numbers, written in decimals."""

    first: int
    """Holds where a block names none."""
    least: int = 1


Knob = tuple[str, ...] | Integer
"""Values, the first of which holds where a block names none; or whole numbers."""
Knobs = Mapping[str, Knob]


def set_knobs(knobs: Knobs, **values: str | int) -> Options:
    """The options that set `knobs` to `values`, without those at their first value."""
    given = {name: str(value) for name, value in values.items()}
    return tuple(sorted((name, value) for name, value in given.items() if value != first_value(knobs[name])))


def first_value(knob: Knob) -> str:
    """What holds where a block names nothing."""
    return str(knob.first) if isinstance(knob, Integer) else knob[0]


def option_problem(options: Options, knobs: Knobs) -> str:
    """An option that is not known, named twice or out of order, or only repeats what holds anyway; or ""."""
    given = list(options)
    are_free = all(len(option) == 2 and _takes(knobs.get(option[0]), option[1]) for option in given)
    if are_free and given == sorted(dict(given).items()):
        return ""
    choices = "; ".join(f"{name} as {_choices(knob)}" for name, knob in knobs.items())
    return f"{[list(option) for option in given]}; expected sorted pairs of {choices or 'nothing'}"


def _takes(knob: Knob | None, value: str) -> bool:
    if isinstance(knob, Integer):
        is_number = value.isascii() and value.isdigit() and str(int(value)) == value
        return is_number and int(value) >= knob.least and int(value) != knob.first
    return value in (knob or ())[1:]


def _choices(knob: Knob) -> str:
    if isinstance(knob, Integer):
        return f"a whole number from {knob.least} on other than {knob.first}"
    return " or ".join(knob[1:])
