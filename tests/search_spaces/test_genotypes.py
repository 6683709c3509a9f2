"""What every space does with its genes: the nearest valid genotype is the nearest by the order that is promised."""

from itertools import product

import numpy as np
import pytest

from nas.records import Gene, Genotype
from search_spaces.genotypes import count_genotypes, nearest_valid

GENES = (
    Gene("depth", (1, 2, 3, 4), True, "blocks"),
    Gene("mixer", ("conv", "full", "window"), False, "what mixes positions"),
    Gene("width", (16, 24, 32), True, "channels"),
    Gene("kernel", (3, 5), True, "kernel"),
)
VALUES = [gene.values for gene in GENES]


def levels(genotype: Genotype) -> tuple[int, ...]:
    return tuple(gene.values.index(genotype[gene.name]) for gene in GENES)


def rank(genotype: Genotype, start: Genotype) -> tuple[object, ...]:
    """The order among candidates: genes changed, sum of distances, which genes, which values."""
    old = levels(start)
    new = levels(genotype)
    changed = [place for place in range(len(GENES)) if new[place] != old[place]]
    distance = 0
    for place in changed:
        gene = GENES[place]
        distance += abs(new[place] - old[place]) if gene.ordered else len(gene.values)
    return len(changed), distance, changed, [new[place] for place in changed]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_the_nearest_valid_genotype_is_the_least_of_all_by_the_order_that_is_promised(share: float) -> None:
    names = [gene.name for gene in GENES]
    every: list[Genotype] = [dict(zip(names, values, strict=True)) for values in product(*VALUES)]
    assert len(every) == count_genotypes(GENES)
    rng = np.random.default_rng(0)
    valid = [genotype for genotype in every if rng.random() < share]
    for start in every:
        nearest = nearest_valid(GENES, start, valid.__contains__)
        assert rank(nearest, start) == min(rank(genotype, start) for genotype in valid)
