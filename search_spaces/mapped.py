"""A space from its genes and one function: all that most spaces need. Imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache

import numpy as np

from nas import protocols
from nas.records import Costs, Gene, Genotype, Value
from search_spaces.architecture.costs import costs, parts
from search_spaces.architecture.drawing import draw
from search_spaces.architecture.spec import Architecture
from search_spaces.genotypes import (
    Rule,
    check_genotype,
    costliest,
    count_genotypes,
    first_different,
    hash_space,
    mutants,
    nearest_valid,
    sample_uniform,
)
from search_spaces.scales import check_setting


class MappedSpace:
    """The networks that a function gives of genotypes; a nas.protocols.SearchSpace.

    Args:
        name: of the space; also the beginning of a study's name.
        scale: size class as the command line names it; the genes need not depend on it.
        image_size: side of the square images, in pixels.
        genes: the choices.
        network: valid genotype -> its network; pure. Two genotypes may give one network.
        presets: name -> genotype; what a search begins with.
        is_valid: whether a genotype gives a network; pure, and true for some. All do by default.
        version: another one for another meaning of the same genes, so that no study goes on with both.
        traits: what predictions see of the networks, where that is not the genes; equal networks need equal ones.

    Raises:
        InvalidInputError: if no network takes the images or classes, or a preset is no genotype of the genes.
    """

    def __init__(
        self,
        name: str,
        scale: str,
        image_size: int,
        in_chans: int,
        num_classes: int,
        *,
        genes: Sequence[Gene],
        network: Callable[[Genotype], Architecture],
        presets: Mapping[str, Genotype],
        is_valid: Rule = lambda genotype: True,
        version: int = 1,
        traits: protocols.Traits | None = None,
    ) -> None:
        check_setting(image_size, in_chans, num_classes)
        self.name = name
        self.scale = scale
        self.genes = tuple(genes)
        self.traits = traits
        self._setting = {"image_size": image_size, "in_chans": in_chans, "num_classes": num_classes}
        self._network = network
        self._is_valid = is_valid
        self._version = version
        self._costs = lru_cache(maxsize=65536)(self._costs_of_values)
        self._presets = {preset: self.repair(genotype) for preset, genotype in presets.items()}

    @property
    def num_genotypes(self) -> int:
        return count_genotypes(self.genes)

    @cached_property
    def space_hash(self) -> str:
        meaning = {"space": self.name, "scale": self.scale, "version": self._version, **self._setting}
        return hash_space(self.genes, meaning)

    def sample(self, rng: np.random.Generator) -> Genotype:
        return self._nearest(sample_uniform(self.genes, rng))

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        return first_different(self, genotype, mutants(self.genes, genotype, rng))

    def repair(self, genotype: Genotype) -> Genotype:
        check_genotype(self.genes, genotype)
        return self._nearest({gene.name: genotype[gene.name] for gene in self.genes})

    def _nearest(self, genotype: Genotype) -> Genotype:
        return nearest_valid(self.genes, genotype, self._is_valid)

    def architecture(self, genotype: Genotype) -> Architecture:
        return self._network(genotype)

    def costs(self, architecture: protocols.Architecture) -> Costs:
        assert isinstance(architecture, Architecture)
        return costs(architecture)

    def genotype_costs(self, genotype: Genotype) -> Costs:
        return self._costs(tuple(genotype[gene.name] for gene in self.genes))

    def _costs_of_values(self, values: tuple[Value, ...]) -> Costs:
        names = [gene.name for gene in self.genes]
        return costs(self._network(self._nearest(dict(zip(names, values, strict=True)))))

    def parts(self, architecture: protocols.Architecture) -> Sequence[tuple[str, int]]:
        assert isinstance(architecture, Architecture)
        return [(kind, macs) for kind, (_, macs) in parts(architecture)]

    def presets(self) -> Mapping[str, Genotype]:
        return self._presets

    def largest(self) -> protocols.Architecture:
        return self._largest

    @cached_property
    def _largest(self) -> protocols.Architecture:
        return costliest(self)

    def slowest(self) -> protocols.Architecture:
        """The largest one."""
        return self._largest

    def draw(self, architecture: protocols.Architecture) -> str:
        assert isinstance(architecture, Architecture)
        return draw(architecture)
