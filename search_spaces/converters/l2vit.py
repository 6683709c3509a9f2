"""L2ViT (arXiv 2501.16182): the names of the authors' state_dicts. A published block is two blocks of ours."""

from search_spaces.checkpoints import Weights, renamed
from search_spaces.converters.names import Names, under

ATTENTION: Names = (("qkv.", "qkv."), ("proj.", "proj."), ("temperature", "temperature"))
CONCENTRATION: Names = (("conv1.", "conv1."), ("bn.", "norm."), ("conv2.", "conv2."))
FIRST: Names = (
    ("cpe.0.proj.", "position.conv."),
    ("norm1.", "norm1."),
    *((f"attn.{theirs}", f"mixer.{ours}") for theirs, ours in ATTENTION),
)
SECOND: Names = (
    ("cpe.1.proj.", "position.conv."),
    ("norm3.", "norm1."),
    *((f"local_mp.{theirs}", f"mixer.{ours}") for theirs, ours in CONCENTRATION),
    ("norm2.", "norm2."),
    ("mlp.", "ffn."),
)


def convert_attention(published: Weights) -> Weights:
    """The entries of one published linear attention for a mixer of ours.

    Raises:
        InvalidInputError: naming the entries that no attention of L2ViT has.
    """
    return renamed(published, under("", "", ATTENTION))


def convert_concentration(published: Weights) -> Weights:
    """The entries of one published local concentration for a mixer of ours.

    Raises:
        InvalidInputError: naming the entries that no local concentration has.
    """
    return renamed(published, under("", "", CONCENTRATION))


def convert_block(published: Weights) -> Weights:
    """The entries of one published block for two blocks of ours in a row.

    Raises:
        InvalidInputError: naming the entries that no block of L2ViT has.
    """
    return renamed(published, [*under("", "0.", FIRST), *under("", "1.", SECOND)])
