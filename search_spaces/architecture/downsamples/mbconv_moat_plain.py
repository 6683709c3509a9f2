"""The first convolution of a stage of MOAT's that attends."""

from functools import partial

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import strided_bottleneck

KIND = DownsampleKind(costs=partial(strided_bottleneck, has_squeeze=False))
