"""A space of your own in a few lines: genes, and what an architecture costs. For an evaluator of your own
(hybrid_nas.api.search, evaluate=...): nothing here says how a network is built. Imports no torch."""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from nas import protocols
from nas.records import JSON, Costs, Gene, Genotype, Value
from nas.text import json_hash
from search_spaces.genotypes import (
    check_genotype,
    costliest,
    count_genotypes,
    first_different,
    hash_space,
    mutants,
    sample_uniform,
)


@dataclass(frozen=True, slots=True)
class PlainArchitecture:
    """The genes that have influence, with their values."""

    values: tuple[tuple[str, Value], ...]

    @property
    def arch_hash(self) -> str:
        return json_hash(self.to_spec())

    def to_spec(self) -> JSON:
        return dict(self.values)

    def layout(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.values)


@dataclass(frozen=True)
class PlainSpace:
    """A SearchSpace in which every genotype is valid, and an architecture is its genes.

    Genes whose conditions do not hold have no influence and are left out of the spec.
    """

    name: str
    """Name of the space, recorded with every study."""
    genes: tuple[Gene, ...]
    count_costs: Callable[[JSON], Costs]
    """Spec -> parameters and multiply-adds, both above zero. Pure and fast: a sampler asks it thousands of times."""
    scale: str = "plain"
    starters: Mapping[str, Genotype] = field(default_factory=dict)
    """Genotypes to begin with, by name."""

    @property
    def num_genotypes(self) -> int:
        return count_genotypes(self.genes)

    @cached_property
    def space_hash(self) -> str:
        return hash_space(self.genes, {"space": self.name, "scale": self.scale})

    def sample(self, rng: np.random.Generator) -> Genotype:
        return sample_uniform(self.genes, rng)

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        return first_different(self, genotype, mutants(self.genes, genotype, rng))

    def repair(self, genotype: Genotype) -> Genotype:
        check_genotype(self.genes, genotype)
        return {gene.name: genotype[gene.name] for gene in self.genes}

    def architecture(self, genotype: Genotype) -> PlainArchitecture:
        chosen = []
        for gene in self.genes:
            if gene.has_influence(genotype):
                chosen.append((gene.name, genotype[gene.name]))
        return PlainArchitecture(tuple(chosen))

    def costs(self, architecture: protocols.Architecture) -> Costs:
        return self.count_costs(architecture.to_spec())

    def genotype_costs(self, genotype: Genotype) -> Costs:
        return self.costs(self.architecture(genotype))

    def parts(self, architecture: protocols.Architecture) -> Sequence[tuple[str, int]]:
        return [("whole", self.costs(architecture).macs)]

    def presets(self) -> Mapping[str, Genotype]:
        return self.starters

    def largest(self) -> protocols.Architecture:
        return costliest(self)

    def slowest(self) -> protocols.Architecture:
        return self.largest()

    def draw(self, architecture: protocols.Architecture) -> str:
        text = html.escape(architecture.layout())
        return f'<svg xmlns="http://www.w3.org/2000/svg" width="600" height="40"><text x="8" y="25">{text}</text></svg>'
