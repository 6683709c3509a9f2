"""A space of one's own: how wide, how deep, and which attention in the last stage.

python launch.py --space docs/examples/my_space.py --budget 20 --objectives top1,macs
"""

from nas.protocols import SearchSpace
from nas.records import Gene, Genotype
from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.spec import Architecture
from search_spaces.mapped import MappedSpace
from search_spaces.scales import stage_map_sizes

GENES = (
    Gene("width", (16, 24, 32), True, "channels of the first stage; each further one has twice as many"),
    Gene("depth", (1, 2, 3), True, "blocks in each stage"),
    Gene("attention", ("full", "key_only"), False, "the attention of the last stage"),
)
PRESETS: dict[str, Genotype] = {
    "small": {"width": 16, "depth": 1, "attention": "full"},
    "large": {"width": 32, "depth": 3, "attention": "full"},
}


def my_space(scale: str, image_size: int, in_chans: int, num_classes: int) -> SearchSpace:
    """Stages of MBConv, the last one of attention, with as many stages as the images leave room for."""
    last = len(stage_map_sizes(image_size)) - 1

    def network(genes: Genotype) -> Architecture:
        stages = []
        for index in range(last + 1):
            width = int(genes["width"]) * 2**index
            block = attention(str(genes["attention"]), width) if index == last else MBCONV
            downsample, stride = ("separable", 2) if index else ("none", 1)
            stages.append(StageSpec(width, downsample, stride, (block,) * int(genes["depth"])))
        stem = StemSpec("conv", stages[0].width, norm="batch")
        return Architecture(stem, tuple(stages), "batch", image_size, in_chans, num_classes)

    setting = (scale, image_size, in_chans, num_classes)
    return MappedSpace("my_space", *setting, genes=GENES, network=network, presets=PRESETS)


MBCONV = BlockSpec("conv", conv="mbconv", kernel=3, conv_ratio=4)


def attention(name: str, width: int) -> BlockSpec:
    """Heads of 8 channels, then a feed-forward."""
    return BlockSpec("attention", attention=name, heads=width // 8, head_dim=8, position="cpe", ffn="mlp", ffn_ratio=2)


SPACE = my_space
