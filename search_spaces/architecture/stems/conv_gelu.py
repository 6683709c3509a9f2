"""Two convolutions of stride 2, with GELU between."""

from search_spaces.architecture.stems.conv import KIND as KIND
