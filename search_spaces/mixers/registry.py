"""Name of a mixer -> its module. A new mixer is one file beside this one and one entry here.

Convolution mixers map (B, C, H, W) to itself, attention mixers (B, H, W, C) to itself; both are branches without their residual and are
made from the stage's width and the block's spec.
"""

from torch import nn

from search_spaces.mixers.dwconv import DepthwiseConv
from search_spaces.mixers.full import FullAttention
from search_spaces.mixers.group_mix import GroupMixAttention
from search_spaces.mixers.key_only import KeyOnlyAttention
from search_spaces.mixers.mbconv import MBConv

MIXERS: dict[str, type[nn.Module]] = {
    "mbconv": MBConv,
    "dwconv": DepthwiseConv,
    "key_only": KeyOnlyAttention,
    "group_mix": GroupMixAttention,
    "full": FullAttention,
}
