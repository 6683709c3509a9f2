"""The stem of two convolutions that halve the sides."""

from collections.abc import Callable

from torch import nn

from search_spaces.network.layers.norms import MAP_NORMS


class TwoConvStem(nn.Sequential):
    """3x3 stride 2 to half of the width, norm, activation, 3x3 stride 2, norm and, unless `last` is None, activation.

    (B, in_chans, H, W) -> (B, width, H / 4, W / 4). The convolutions have biases.
    """

    stride = 4
    image_convs = ("0",)

    def __init__(
        self,
        in_chans: int,
        width: int,
        norm: str,
        act: Callable[[], nn.Module],
        last: Callable[[], nn.Module] | None = None,
    ) -> None:
        half = width // 2
        layers = [nn.Conv2d(in_chans, half, 3, 2, 1), MAP_NORMS[norm](half), act()]
        layers += [nn.Conv2d(half, width, 3, 2, 1), MAP_NORMS[norm](width)]
        super().__init__(*layers, *([last()] if last else []))
