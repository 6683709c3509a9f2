"""MOAT's two convolutions."""

from search_spaces.network.layers.stem import HalvingStem
from search_spaces.network.parts import part


@part("stems", "moat")
class MOATStem(HalvingStem):
    """3x3 stride 2, norm, GELU, 3x3; biases, TensorFlow's padding. Source: MOAT (arXiv 2210.01820)."""

    form = "moat"
    has_biases = True
