"""Name of a part of a network -> its module, found by its file.

| folder | made from | maps |
|---|---|---|
| mixers | width, the block's spec | convolutions (B, C, H, W) to itself, attentions (B, H, W, C) to itself |
| ffns | width, the block's spec | (B, H, W, C) to itself |
| stems | image channels, width, norm | (B, channels, H, W) -> (B, width, H / stride, W / stride) |
| downsamples | width before, width, stride, side of the map | (B, C, H, W) -> (B, width, H / stride, W / stride) |
| heads | width, classes, pooling, dropout | (B, width, H, W) -> (B, classes) |

Mixers and feed-forwards are branches without their residual. The backbone adds `map_size` to the block's spec: the side
of the stage's map at the spec's image size. A stem has the class attributes `stride` and `image_convs`, the names of
its convolutions that read the image. A module whose parameters act as biases, although they have more than one axis,
names them in the class attribute `undecayed`.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from torch import nn

Module = TypeVar("Module", bound=type[nn.Module])
PARTS: dict[str, type[nn.Module]] = {}
HERE = "search_spaces.network.parts"
"""Name of this file; in a zoo entry its text stands in a module of another name."""


def part(folder: str, name: str) -> Callable[[Module], Module]:
    """Decorator that registers a module under the folder and the name of its file."""

    def register(module: Module) -> Module:
        place = f"{folder}.{name}"
        assert place not in PARTS, f"two parts are {place}: {PARTS[place].__name__} and {module.__name__}"
        PARTS[place] = module
        return module

    return register


def find_part(folder: str, name: str) -> Any:
    """The module of that name; imports its file where that is not done yet.

    Raises:
        ValueError: if this is the module of a zoo entry, which holds the parts of its own network only.
    """
    place = f"{folder}.{name}"
    if place not in PARTS and __name__ == HERE:
        import_module(f"search_spaces.network.{place}")
    if place not in PARTS:
        raise ValueError(
            f"this network needs {place}, and {__name__} has {', '.join(sorted(PARTS))}; import the module that "
            '"architecture" in the config.json of its own entry names'
        )
    return PARTS[place]
