"""No norm: the stages bring theirs."""

from search_spaces.network.layers.head import Head
from search_spaces.network.parts import part


@part("heads", "none")
class PlainHead(Head):
    """Pooling, linear layer. Source: VAN (arXiv 2202.09741), whose stages end in a norm."""
