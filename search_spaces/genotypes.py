"""What every space does with its genes: checking, sampling, changing, repairing, hashing."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, combinations, islice, product
from typing import TypeVar

import numpy as np

from nas.errors import InvalidInputError
from nas.protocols import Architecture, SearchSpace
from nas.records import JSON, Gene, Genotype, Value
from nas.text import json_hash

T = TypeVar("T")
Rule = Callable[[Genotype], bool]
Change = tuple[str, Value]
"""(name of a gene, another value)."""


def check_genotype(genes: Sequence[Gene], genotype: Genotype) -> None:
    """Refuse what is not a choice of every gene.

    Raises:
        InvalidInputError: naming the first gene that is missing, unknown, or has a value that is not one of its values.
    """
    names = [gene.name for gene in genes]
    if genotype.keys() != set(names):
        missing = [name for name in names if name not in genotype]
        unknown = [name for name in genotype if name not in names]
        raise InvalidInputError(
            f"genotype lacks {missing} and has unknown {unknown}; expected a value for each gene of the space"
        )
    for gene in genes:
        if genotype[gene.name] not in gene.values:
            raise InvalidInputError(
                f"gene {gene.name} is {genotype[gene.name]!r}; expected one of {', '.join(map(repr, gene.values))}"
            )


def sample_uniform(genes: Sequence[Gene], rng: np.random.Generator) -> Genotype:
    """Every gene uniform over its values."""
    indices = rng.integers([len(gene.values) for gene in genes])
    return {gene.name: gene.values[index] for gene, index in zip(genes, indices, strict=True)}


def mutants(genes: Sequence[Gene], genotype: Genotype, rng: np.random.Generator) -> Iterator[Genotype]:
    """Endless variations of a genotype: one gene changed at first, one more after every 20 of them.

    An ordered gene moves to a neighbouring value, another one to any other value.
    """
    free = [gene for gene in genes if len(gene.values) > 1]
    count = 0
    while free:
        mutant = dict(genotype)
        for index in rng.choice(len(free), size=min(len(free), 1 + count // 20), replace=False):
            gene = free[index]
            old = gene.values.index(genotype[gene.name])
            reach = 1 if gene.ordered else len(gene.values)
            others = [i for i in range(len(gene.values)) if 0 < abs(i - old) <= reach]
            mutant[gene.name] = gene.values[others[rng.integers(len(others))]]
        yield mutant
        count += 1


def nearest_valid(genes: Sequence[Gene], genotype: Genotype, is_valid: Rule) -> Genotype:
    """The valid genotype that differs in the fewest genes; among those the smallest sum of distances; then the first in
    gene order.

    The distance between two values of an ordered gene is that of their indices; any two values of another gene are as
    far apart as it has values, so that a layout changes only where no size can.

    Args:
        genes: those that may change, in gene order. All others keep their value.
        is_valid: pure, and true for at least one choice of `genes`.
    """
    if is_valid(genotype):
        return dict(genotype)
    options = [_other_values(gene.name, gene.values, gene.ordered, genotype[gene.name]) for gene in genes]
    for count in range(1, len(genes) + 1):
        for changes in _nearest_first(options, count):
            candidate = dict(genotype)
            candidate.update(changes)
            if is_valid(candidate):
                return candidate
    raise AssertionError("no choice of the genes is valid")


def _nearest_first(options: Sequence[tuple[Sequence[Change], Sequence[int]]], count: int) -> Iterator[Sequence[Change]]:
    """Changes of `count` genes by their sum of distances; then in gene order, as the sort is stable."""
    changes = list(_choices([of_gene for of_gene, _ in options], count))
    distances = list(map(sum, _choices([of_gene for _, of_gene in options], count)))
    return map(changes.__getitem__, sorted(range(len(changes)), key=distances.__getitem__))


def _choices(options: Sequence[Sequence[T]], count: int) -> Iterator[tuple[T, ...]]:
    return chain.from_iterable(product(*chosen) for chosen in combinations(options, count))


@lru_cache(maxsize=4096)
def _other_values(
    name: str, values: tuple[Value, ...], is_ordered: bool, old: Value
) -> tuple[tuple[Change, ...], tuple[int, ...]]:
    """Every other value of a gene, and how far each is from the old one."""
    at = values.index(old)
    others = [place for place in range(len(values)) if place != at]
    distances = [abs(place - at) if is_ordered else len(values) for place in others]
    return tuple([(name, values[place]) for place in others]), tuple(distances)


def count_genotypes(genes: Sequence[Gene]) -> int:
    """Number of distinct genotypes, valid or not."""
    return math.prod(len(gene.values) for gene in genes)


def hash_space(genes: Sequence[Gene], setting: JSON) -> str:
    """SHA-256 (64 hex digits) over the genes and everything else that decides what a genotype means."""
    described = [[gene.name, list(gene.values), gene.ordered] for gene in genes]
    return json_hash({"genes": described, **setting})


def first_different(space: SearchSpace, genotype: Genotype, candidates: Iterator[Genotype]) -> Genotype:
    """The first candidate, repaired, whose architecture is not that of `genotype`; `genotype` itself if 1,000 of them
    are equal."""
    own_hash = space.architecture(space.repair(genotype)).arch_hash
    for candidate in islice(candidates, 1000):
        repaired = space.repair(candidate)
        if space.architecture(repaired).arch_hash != own_hash:
            return repaired
    return space.repair(genotype)


def costliest(space: SearchSpace) -> Architecture:
    """The architecture at which no single gene adds macs: one gene after the other takes its costliest value until none
    changes."""

    def macs(genotype: Genotype) -> int:
        return space.costs(space.architecture(genotype)).macs

    best = space.repair({gene.name: gene.values[-1] for gene in space.genes})
    while True:
        start = best
        for gene in space.genes:
            best = max([best, *(space.repair({**best, gene.name: value}) for value in gene.values)], key=macs)
        if best == start:
            return space.architecture(best)
