"""timm's MaxViT attention (arXiv 2204.01697): the names of its window and grid."""

from search_spaces.checkpoints import Weights, renamed
from search_spaces.converters.names import Names, under

MIXER: Names = (
    ("qkv.", "qkv."),
    ("rel_pos.relative_position_bias_table", "bias.bias_table"),
    ("proj.", "proj."),
)


def convert_mixer(published: Weights) -> Weights:
    """The entries of one attention of timm's networks with TensorFlow's weights for a mixer of ours.

    Raises:
        InvalidInputError: naming the entries that no such attention has.
    """
    return renamed(published, under("", "", MIXER))
