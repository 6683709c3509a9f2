"""What a published network is to us. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.knobs import Options
from search_spaces.architecture.spec import Architecture

IMAGE_SIZE = 224
IN_CHANS = 3
NUM_CLASSES = 1000


@dataclass(frozen=True, slots=True)
class Preset:
    """A network under a published name."""

    architecture: Architecture
    source: str
    published_params: int | None
    """Trainable parameters as published, or counted from the authors' code; None where no figure can be relied on."""
    tolerance: float
    """Largest relative difference of our count that still counts as agreement; 0.0 for equal to the integer."""
    converter: str = ""
    """File of search_spaces/converters that renames its published weights; "" where there are none."""


def network(stem: StemSpec, stages: Sequence[StageSpec], head_norm: str) -> Architecture:
    """The architecture at 224 pixels and 1,000 classes."""
    return Architecture(stem, tuple(stages), head_norm, IMAGE_SIZE, IN_CHANS, NUM_CLASSES)


def attention_block(
    name: str,
    width: int,
    heads: int,
    options: Options,
    norm: str,
    *,
    position: str = "none",
    ffn: str = "none",
    ffn_ratio: int = 0,
) -> BlockSpec:
    """A block of attention whose heads share the width evenly."""
    return BlockSpec(
        "attention",
        attention=name,
        heads=heads,
        head_dim=width // heads,
        position=position,
        ffn=ffn,
        ffn_ratio=ffn_ratio,
        options=options,
        norm=norm,
    )
