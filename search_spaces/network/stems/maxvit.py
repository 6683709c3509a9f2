"""MaxViT's two convolutions."""

from search_spaces.network.layers.stem import HalvingStem
from search_spaces.network.parts import part


@part("stems", "maxvit")
class MaxViTStem(HalvingStem):
    """3x3 stride 2, norm, GELU by tanh, 3x3; biases, TensorFlow's padding. Source: MaxViT (arXiv 2204.01697)."""

    form = "maxvit"
    has_biases = True
