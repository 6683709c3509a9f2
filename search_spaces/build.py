"""From an architecture, or its spec, to the network."""

from nas.records import JSON
from search_spaces.architecture.spec import Architecture
from search_spaces.network.backbone import HybridBackbone


def build_model(architecture_or_spec: Architecture | JSON, drop_path_rate: float = 0.0) -> HybridBackbone:
    """The network with random weights (from torch's generator), in training mode.

    Raises:
        InvalidInputError: if the spec is not one.
    """
    given = architecture_or_spec
    architecture = given if isinstance(given, Architecture) else Architecture.from_spec(given)
    return HybridBackbone(architecture.to_spec(), drop_path_rate=drop_path_rate)
