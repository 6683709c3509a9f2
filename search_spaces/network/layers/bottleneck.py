"""MBConv with its norm in front, as CoAtNet, MOAT and MaxViT have it."""

import math
from typing import NamedTuple

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.squeeze_excite import SEModule
from torch import nn

from search_spaces.network.layers.activations import ACTIVATIONS
from search_spaces.network.layers.halving import PooledShortcut
from search_spaces.network.layers.norms import MAP_NORMS


class BottleneckForm(NamedTuple):
    """What differs between the papers."""

    norm: str
    """A name of MAP_NORMS."""
    act: str
    """A name of ACTIVATIONS."""
    conv: type[nn.Conv2d]
    """The convolution that strides. Conv2dSame pads as TensorFlow: on even sides nothing before and one after."""


FORMS = {
    "coatnet": BottleneckForm("batch", "gelu", nn.Conv2d),
    "moat": BottleneckForm("batch_1e-3", "gelu", Conv2dSame),
    "maxvit": BottleneckForm("batch_1e-3", "gelu_tanh", Conv2dSame),
}


class PreNormBottleneck(nn.Module):
    """BatchNorm, 1x1 to ratio * width, depthwise kernel x kernel, squeeze-and-excitation, 1x1 to width; BatchNorm and
    activation behind the first two convolutions.

    (B, C, H, W) -> (B, width, H / stride, W / stride). The last convolution alone has a bias. Source: CoAtNet (arXiv
    2106.04803), MOAT (2210.01820), MaxViT (2204.01697).

    Args:
        in_width: channels before.
        width: channels behind.
        form: a name of FORMS.
        kernel: side of the depthwise convolution, odd.
        ratio: of the channels between to `width`.
        squeeze: inner width of squeeze-and-excitation, 0 for none.
        stride: of the depthwise convolution.
    """

    def __init__(
        self, in_width: int, width: int, form: str, kernel: int = 3, ratio: int = 4, squeeze: int = 0, stride: int = 1
    ) -> None:
        super().__init__()
        norm = MAP_NORMS[FORMS[form].norm]
        conv = FORMS[form].conv if stride > 1 else nn.Conv2d
        hidden = ratio * width
        self.pre_norm = norm(in_width)
        self.expand = nn.Conv2d(in_width, hidden, 1, bias=False)
        self.expand_norm = norm(hidden)
        self.depthwise = conv(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False)
        self.depthwise_norm = norm(hidden)
        self.act = ACTIVATIONS[FORMS[form].act]()
        self.excite = SEModule(hidden, rd_channels=squeeze, act_layer=nn.SiLU) if squeeze else nn.Identity()
        self.shrink = nn.Conv2d(hidden, width, 1)
        init_fan_out(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.expand_norm(self.expand(self.pre_norm(x))))
        x = self.act(self.depthwise_norm(self.depthwise(x)))
        out: torch.Tensor = self.shrink(self.excite(x))
        return out


class StridedBottleneck(nn.Module):
    """PreNormBottleneck beside a pooled shortcut: (B, C, H, W) -> (B, width, H / stride, W / stride).

    Args: those of PreNormBottleneck, and
        pool: side of the windows that the shortcut averages.
    """

    def __init__(
        self, in_width: int, width: int, stride: int, form: str, squeeze: int, ratio: int = 4, pool: int = 2
    ) -> None:
        super().__init__()
        self.shortcut = PooledShortcut(in_width, width, stride, pool)
        self.bottleneck = PreNormBottleneck(in_width, width, form, ratio=ratio, squeeze=squeeze, stride=stride)
        init_fan_out(self.shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.shortcut(x) + self.bottleneck(x)
        return out


def squeeze_width(width: int, se_ratio: float = 0.25) -> int:
    """Inner width of the papers' squeeze-and-excitation, a share of the block's width; 0 for none."""
    return max(1, int(width * se_ratio)) if se_ratio else 0


def init_fan_out(module: nn.Module) -> None:
    """Convolutions normal with the variance 2 / (kernel^2 width / groups), biases 0, as in EfficientNet (arXiv
    1905.11946)."""
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d):
            fan_out = conv.kernel_size[0] * conv.kernel_size[1] * conv.out_channels // conv.groups
            nn.init.normal_(conv.weight, 0.0, math.sqrt(2.0 / fan_out))
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
