"""A 3x3 convolution and BatchNorm."""

from torch import nn

from search_spaces.network.parts import part


@part("downsamples", "conv_bn")
class ConvBatchNormDownsample(nn.Sequential):
    """3x3 with the stride and a bias, then BatchNorm. Source: CAS-ViT (arXiv 2408.03703)."""

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        super().__init__(nn.Conv2d(in_width, width, 3, stride, 1), nn.BatchNorm2d(width))
