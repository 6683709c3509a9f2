"""LSNet (arXiv 2503.23135): the names of the authors' model/lsnet.py."""

from search_spaces.checkpoints import Weights, renamed
from search_spaces.converters.names import Names, under

MIXER: Names = (
    ("lkp.cv1.c.", "weigh.0.conv."),
    ("lkp.cv1.bn.", "weigh.0.norm."),
    ("lkp.cv2.c.", "weigh.2.conv."),
    ("lkp.cv2.bn.", "weigh.2.norm."),
    ("lkp.cv3.c.", "weigh.3.conv."),
    ("lkp.cv3.bn.", "weigh.3.norm."),
    ("lkp.cv4.", "weigh.5."),
    ("lkp.norm.", "weigh.6."),
    ("bn.", "norm."),
)


def convert_mixer(published: Weights) -> Weights:
    """The entries of one published LSConv for a mixer of ours.

    Raises:
        InvalidInputError: naming the entries that no LSConv has.
    """
    return renamed(published, under("", "", MIXER))
