"""An inverted bottleneck with squeeze-and-excitation that changes width and resolution, without a shortcut."""

from functools import partial
from typing import Any

from timm.layers.helpers import make_divisible
from timm.models._efficientnet_blocks import InvertedResidual, SqueezeExcite
from torch import nn

from search_spaces.network.parts import part


@part("downsamples", "merge")
class PatchMerging(InvertedResidual):
    """1x1 to four times the width, depthwise 3x3 with the stride, squeeze-and-excitation, 1x1; ReLU after two of them.

    (B, C, H, W) -> (B, width, ceil(H / stride), ceil(W / stride)). BatchNorm after each, no biases. Source: SHViT
    (arXiv 2401.16456).
    """

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        excite: Any = partial(SqueezeExcite, rd_ratio=0.25, rd_round_fn=make_divisible)
        super().__init__(in_width, width, stride=stride, exp_ratio=4.0, noskip=True, act_layer=nn.ReLU, se_layer=excite)
