"""From an architecture, or its spec, to the network."""

from collections.abc import Callable

from torch import nn

from nas.records import JSON
from search_spaces.architecture.spec import Architecture
from search_spaces.network.backbone import HybridBackbone
from search_spaces.space_module import SpaceModule

Build = Callable[[JSON, float], nn.Module]
"""(spec, drop_path_rate) -> the network with random weights (from torch's generator), in training mode."""


def build_model(architecture_or_spec: Architecture | JSON, drop_path_rate: float = 0.0) -> HybridBackbone:
    """The network with random weights (from torch's generator), in training mode.

    Raises:
        InvalidInputError: if the spec is not one.
    """
    given = architecture_or_spec
    architecture = given if isinstance(given, Architecture) else Architecture.from_spec(given)
    return HybridBackbone(architecture.to_spec(), drop_path_rate=drop_path_rate)


def builder(module: SpaceModule | None) -> Build:
    """What builds the networks of a space: build_model, or the `build` of a user's own module.

    Raises:
        InvalidInputError: if the module cannot be imported.
    """
    if module is None:
        return build_model
    build: Build = module.load().build
    return build
