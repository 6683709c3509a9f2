"""HaloNet (arXiv 2103.12731): the names of timm's halo attention."""

from search_spaces.checkpoints import Weights, renamed
from search_spaces.converters.names import Names, as_linear, under

MIXER: Names = (
    ("q.", "q."),
    ("kv.", "kv."),
    ("pos_embed.height_rel", "row_table"),
    ("pos_embed.width_rel", "column_table"),
)


def convert_mixer(published: Weights) -> Weights:
    """The entries of one halo attention of timm for a mixer of ours.

    Raises:
        InvalidInputError: naming the entries that no halo attention has.
    """
    return as_linear(renamed(published, under("", "", MIXER)), "q|kv")
