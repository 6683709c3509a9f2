"""Multi-head convolutional attention: a grouped convolution in the place of attention."""

from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, HEADS, MixerKind
from search_spaces.architecture.tally import multi_head_conv

KIND = MixerKind(
    rank=28,
    role=ATTENTION,
    symbol="H",
    colour="#aeb6bf",
    label="multi-head convolution",
    fields=HEADS,
    costs=lambda block, width, positions: multi_head_conv(width, block.head_dim, positions),
    sets=(EFFICIENT,),
)
