"""Feed-forward with a conditional position encoding between its linear layers; it costs what `mlp_dw` does."""

from search_spaces.architecture.ffns import mlp_dw
from search_spaces.architecture.ffns.kind import FfnKind

KIND = FfnKind(rank=4, costs=mlp_dw.KIND.costs)
