"""Four convolutions, the first and the last of stride 2."""

from torch import nn

from search_spaces.network.layers.norms import MAP_NORMS
from search_spaces.network.parts import part


@part("stems", "conv4")
class NextViTStem(nn.Sequential):
    """3x3 without bias, norm, ReLU, four times, strides 2, 1, 1, 2; the second has half of the width.

    Source: Next-ViT (arXiv 2207.05501).
    """

    stride = 4
    image_convs = ("0",)

    def __init__(self, in_chans: int, width: int, norm: str) -> None:
        widths = (in_chans, width, width // 2, width, width)
        layers: list[nn.Module] = []
        for before, after, stride in zip(widths[:-1], widths[1:], (2, 1, 1, 2), strict=True):
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), MAP_NORMS[norm](after), nn.ReLU()]
        super().__init__(*layers)
