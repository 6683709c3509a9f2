"""A search space as a table."""

import math

from nas.protocols import SearchSpace, mixers_of
from nas.text import count_text, text_table


def space_text(space: SearchSpace) -> str:
    """The genes of a space with their values and meaning, under its size."""
    genotypes = math.prod(len(gene.values) for gene in space.genes)
    head = f"{space.name}, scale {space.scale}: {len(space.genes)} genes, {count_text(genotypes)} genotypes"
    mixers = mixers_of(space)
    if mixers:
        head += f"\nmixers: {mixers}"
    rows = [(gene.name, " ".join(map(str, gene.values)), gene.meaning) for gene in space.genes]
    return head + "\n" + text_table(("gene", "values", "meaning"), rows, right=0)
