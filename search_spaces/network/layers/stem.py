"""The stem of CoAtNet, MOAT and MaxViT."""

from torch import nn

from search_spaces.network.layers.activations import ACTIVATIONS
from search_spaces.network.layers.bottleneck import FORMS, init_fan_out
from search_spaces.network.layers.norms import MAP_NORMS


class HalvingStem(nn.Sequential):
    """3x3 stride 2, norm, activation, 3x3: (B, channels, H, W) -> (B, width, H / 2, W / 2).

    Subclasses say which activation and padding, by the names of FORMS, and whether the convolutions have biases.
    """

    stride = 2
    image_convs = ("0",)
    form = ""
    has_biases = True

    def __init__(self, in_chans: int, width: int, norm: str) -> None:
        form = FORMS[self.form]
        first = form.conv(in_chans, width, 3, 2, 1, bias=self.has_biases)
        second = nn.Conv2d(width, width, 3, padding=1, bias=self.has_biases)
        super().__init__(first, MAP_NORMS[norm](width), ACTIVATIONS[form.act](), second)
        init_fan_out(self)
