"""Which mixers and feed-forwards a search may choose among. Imports no torch."""

from collections.abc import Mapping

from nas.errors import InvalidInputError
from search_spaces.architecture.ffns.registry import FFNS
from search_spaces.architecture.kinds.kind import ATTENTION, CONV, CORE, EFFICIENT
from search_spaces.architecture.kinds.registry import KINDS

DEFAULT = "mbconv,dwconv,key_only,group_mix,full,channel_group,lka"
"""What a study has that names no mixers: core, channel-group attention and large kernel attention."""
SEARCHED_FFNS = tuple(name for name, kind in FFNS.items() if kind.is_searched)


def _find_sets() -> dict[str, tuple[str, ...]]:
    named = {}
    for name in (CORE, EFFICIENT):
        named[name] = tuple(mixer for mixer, kind in KINDS.items() if name in kind.sets)
    return {**named, "all": (*KINDS, *SEARCHED_FFNS)}


SETS: Mapping[str, tuple[str, ...]] = _find_sets()
"""Name -> mixers, and feed-forwards beside those of the frames."""


def find_mixers(text: str) -> tuple[str, ...]:
    """The mixers and feed-forwards of a text such as "core" or "core,window,conv_glu", in the order of KINDS and FFNS.

    Raises:
        InvalidInputError: if a name is unknown, or there is no attention or no convolution among them.
    """
    known = (*KINDS, *SEARCHED_FFNS)
    wanted: set[str] = set()
    for name in (part.strip() for part in text.split(",")):
        if name not in SETS and name not in known:
            raise InvalidInputError(
                f"--mixers names {name!r}; expected {', '.join(SETS)}, or names by commas of {', '.join(known)}"
            )
        wanted |= set(SETS.get(name, (name,)))
    found = tuple(name for name in known if name in wanted)
    roles = {KINDS[name].role for name in found if name in KINDS}
    if roles != {ATTENTION, CONV}:
        raise InvalidInputError(
            f"--mixers {text!r} has no {(ATTENTION, CONV)[ATTENTION in roles]}; expected at least one attention and "
            "one convolution, such as key_only,mbconv"
        )
    return found


def _names_of_sets() -> dict[str, str]:
    texts = {"the default": DEFAULT, **{name: name for name in SETS}}
    return {",".join(find_mixers(text)): name for name, text in texts.items()}


SET_NAMES: Mapping[str, str] = _names_of_sets()
"""What a space may choose among, by commas -> what people call it; only sets have a name."""
