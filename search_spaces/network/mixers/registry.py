"""Name of a mixer -> its module.

Convolution mixers map (B, C, H, W) to itself, attention mixers (B, H, W, C) to itself; both are branches without their
residual and are made from the stage's width and the block's spec, to which the backbone adds `map_size`: the side of
the stage's map at the spec's image size.
"""

from collections.abc import Callable
from importlib import import_module

from torch import nn

MIXERS: dict[str, type[nn.Module]] = {}


def mixer(name: str) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Decorator that registers a mixer's module under the name of its file."""

    def register(module: type[nn.Module]) -> type[nn.Module]:
        assert name not in MIXERS, f"two mixers are named {name}: {MIXERS[name].__name__} and {module.__name__}"
        MIXERS[name] = module
        return module

    return register


def find_mixer(name: str) -> type[nn.Module]:
    """The module of that name; imports its file where that is not done yet (a zoo entry's module holds all of them)."""
    if name not in MIXERS:
        import_module(f"search_spaces.network.mixers.{name}")
    return MIXERS[name]
