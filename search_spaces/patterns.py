"""Where attention stands among the blocks of a stage. Imports no torch."""

from functools import lru_cache

PATTERNS = ("conv", "attention", "alternate", "every_k", "tail_t", "head_t", "fused_serial", "fused_parallel")
"""Arrangements of the blocks of a stage; block_kinds says what each is."""
MIXED = ("alternate", "every_k", "tail_t", "head_t")
"""Patterns with blocks of two kinds."""


@lru_cache(maxsize=1024)
def block_kinds(pattern: str, period: int, depth: int) -> tuple[str, ...]:
    """The kind of each block of a stage; `period` is k of every_k and t of tail_t and head_t, and idle otherwise."""
    if pattern in ("conv", "attention", "fused_serial", "fused_parallel"):
        return (pattern,) * depth
    attended = {
        "alternate": range(1, depth, 2),
        "every_k": range(period - 1, depth, period),
        "tail_t": range(max(0, depth - period), depth),
        "head_t": range(period),
    }[pattern]
    return tuple("attention" if index in attended else "conv" for index in range(depth))


@lru_cache(maxsize=65536)
def attentions_of(pattern: str, period: int, depth: int, attention: str, partner: str) -> tuple[bool, tuple[str, ...]]:
    """Whether a block of the stage convolves, and the attentions in it."""
    kinds = block_kinds(pattern, period, depth)
    convolves = any(kind != "attention" for kind in kinds)
    attends = any(kind != "conv" for kind in kinds)
    used = (attention,) if attends else ()
    if pattern in MIXED and partner != "conv" and convolves:
        return False, tuple(dict.fromkeys((*used, partner)))
    return convolves, used
