"""Two convolutions of stride 2, with ReLU behind each."""

from search_spaces.architecture.stems.conv import KIND as KIND
