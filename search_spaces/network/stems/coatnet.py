"""CoAtNet's two convolutions without biases."""

from search_spaces.network.layers.stem import HalvingStem
from search_spaces.network.parts import part


@part("stems", "coatnet")
class CoAtNetStem(HalvingStem):
    """3x3 stride 2, norm, GELU, 3x3. Source: CoAtNet (arXiv 2106.04803)."""

    form = "coatnet"
    has_biases = False
