"""GroupMixFormer's patch embedding."""

from timm.layers.separable_conv import SeparableConvNormAct
from torch import nn

from search_spaces.network.parts import part


@part("downsamples", "separable")
class SeparableDownsample(SeparableConvNormAct):
    """Depthwise 3x3 with the stride, 1x1, BatchNorm, Hardswish. Source: GroupMixFormer (arXiv 2311.15157)."""

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        super().__init__(in_width, width, 3, stride=stride, act_layer=nn.Hardswish)
