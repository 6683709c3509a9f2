"""A convolution over patches that do not overlap, as DaViT has it."""

from search_spaces.architecture.downsamples import patchify

KIND = patchify.KIND
