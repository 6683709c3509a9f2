"""The first block of a stage of CoAtNet's that convolves."""

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import strided_bottleneck

KIND = DownsampleKind(costs=strided_bottleneck)
