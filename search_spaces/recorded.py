"""A space as a study recorded it, read with a later version of its code.

Spaces grow: genes gain values, and new genes come beside them. What was recorded keeps its meaning all the same, and
that is proved here rather than assumed: every recorded genotype must give the recorded architecture again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from nas.errors import InvalidInputError
from nas.protocols import Architecture, SearchSpace, Traits, traits_of
from nas.records import Costs, Gene, Genotype, StudyRecord, TrialFacts, Value
from nas.surrogates.genes import GeneLevels
from search_spaces.genotypes import (
    check_genotype,
    count_genotypes,
    first_different,
    mutants,
    nearest_valid,
    sample_uniform,
)

Conditions = tuple[tuple[str, tuple[Value, ...]], ...]


def as_recorded(
    space: SearchSpace,
    study: StudyRecord,
    values: Mapping[str, Sequence[Value]],
    facts: Iterable[TrialFacts],
    genotypes: Mapping[int, Genotype],
) -> SearchSpace:
    """The space that a study searched, for explaining it; not for searching on.

    Args:
        space: what this version has under the name of the study's space.
        study: the study.
        values: gene -> its values when the study was created.
        facts: trials of the study.
        genotypes: recorded genotype of every one of them, by number.

    Returns:
        `space` itself where it is the same; else what is left of it with the recorded genes and values.

    Raises:
        InvalidInputError: if a recorded genotype does not give the recorded architecture any more.
    """
    if space.space_hash == study.space_hash:
        return space
    known = {gene.name: set(gene.values) for gene in space.genes}
    same = all(set(recorded) <= known.get(name, set()) for name, recorded in values.items())
    recorded_space = RecordedSpace(space, study.space_hash, _genes(space, values)) if same else None
    if recorded_space is None or not _gives(recorded_space, facts, genotypes):
        raise InvalidInputError(
            f"study {study.name!r} searched {study.space} {study.space_hash[:12]}, and this version of the code has "
            f"{space.space_hash[:12]}: its genes mean something else; explain it with version {study.code_version}"
        )
    return recorded_space


def _genes(space: SearchSpace, values: Mapping[str, Sequence[Value]]) -> tuple[Gene, ...]:
    """The genes that were recorded, in the order of the space, with the recorded values."""
    genes = []
    first = {gene.name: gene.values[0] for gene in space.genes}
    for gene in space.genes:
        if gene.name not in values:
            continue
        ways = (_known_conditions(way, first, values) for way in (gene.only_if, gene.or_if) if way)
        possible = [way for way in ways if way is not None]
        only_if = possible[0] if possible and all(possible) else ()
        or_if = possible[1] if len(possible) > 1 and only_if else ()
        genes.append(replace(gene, values=tuple(values[gene.name]), only_if=only_if, or_if=or_if))
    return tuple(genes)


def _known_conditions(
    conditions: Conditions, first: Mapping[str, Value], values: Mapping[str, Sequence[Value]]
) -> Conditions | None:
    """What is left of conditions when genes that came later stay at their first value; None where they cannot hold."""
    left = []
    for other, wanted in conditions:
        if other in values:
            left.append((other, tuple(value for value in wanted if value in values[other])))
        elif first[other] not in wanted:
            return None
    return tuple(left)


def _gives(space: SearchSpace, facts: Iterable[TrialFacts], genotypes: Mapping[int, Genotype]) -> bool:
    """Whether every recorded genotype gives the recorded architecture at the recorded costs."""
    for trial in facts:
        architecture = space.architecture(genotypes[trial.trial_number])
        if architecture.arch_hash != trial.arch_hash or space.costs(architecture) != trial.costs:
            return False
    return True


@dataclass(frozen=True)
class RecordedSpace:
    """The part of a larger space that a study knew (nas.protocols.SearchSpace). Genes that came later stay at their
    first value, at which they have no influence on what was there before."""

    larger: SearchSpace
    space_hash: str
    genes: tuple[Gene, ...]

    @property
    def name(self) -> str:
        return self.larger.name

    @property
    def scale(self) -> str:
        return self.larger.scale

    @property
    def num_genotypes(self) -> int:
        return count_genotypes(self.genes)

    @cached_property
    def traits(self) -> Traits | None:
        """Those of the larger space."""
        larger = traits_of(self.larger)
        if larger is None:
            return None
        canonical = GeneLevels(self.larger.genes).canonical
        return Traits(larger.described, lambda rows: larger.levels(canonical(self._larger_rows(rows))))

    def _larger_rows(self, rows_ND: np.ndarray) -> np.ndarray:
        """(num_rows, num_genes of the larger space) int."""
        columns = {gene.name: place for place, gene in enumerate(self.genes)}
        rows = np.zeros((len(rows_ND), len(self.larger.genes)), dtype=int)
        for place, gene in enumerate(self.larger.genes):
            if gene.name in columns:
                column = columns[gene.name]
                level_of = np.array([gene.values.index(value) for value in self.genes[column].values])
                rows[:, place] = level_of[rows_ND[:, column]]
        return rows

    def sample(self, rng: np.random.Generator) -> Genotype:
        return self.repair(sample_uniform(self.genes, rng))

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        return first_different(self, genotype, mutants(self.genes, genotype, rng))

    def repair(self, genotype: Genotype) -> Genotype:
        """The nearest valid genotype of the larger space, unless that has a value that came later."""
        check_genotype(self.genes, genotype)
        return self._known(self.larger.repair(self._whole(genotype))) or self._detour(genotype)

    def architecture(self, genotype: Genotype) -> Architecture:
        return self.larger.architecture(self._whole(genotype))

    def costs(self, architecture: Architecture) -> Costs:
        return self.larger.costs(architecture)

    def genotype_costs(self, genotype: Genotype) -> Costs:
        return self.larger.genotype_costs(self._whole(self.repair(genotype)))

    def parts(self, architecture: Architecture) -> Sequence[tuple[str, int]]:
        return self.larger.parts(architecture)

    def presets(self) -> Mapping[str, Genotype]:
        found = {name: self._known(preset) for name, preset in self.larger.presets().items()}
        return {name: preset for name, preset in found.items() if preset is not None}

    def largest(self) -> Architecture:
        return self.larger.largest()

    def slowest(self) -> Architecture:
        return self.larger.slowest()

    def draw(self, architecture: Architecture) -> str:
        return self.larger.draw(architecture)

    def _whole(self, genotype: Genotype) -> Genotype:
        return {gene.name: genotype.get(gene.name, gene.values[0]) for gene in self.larger.genes}

    def _known(self, whole: Genotype) -> Genotype | None:
        """The recorded genes of a genotype of the larger space; None where one has a value that came later."""
        known = {gene.name: whole[gene.name] for gene in self.genes}
        return known if all(known[gene.name] in gene.values for gene in self.genes) else None

    def _detour(self, genotype: Genotype) -> Genotype:
        """A valid genotype where the nearest one has a later value: by one change where one is enough; else with the
        recorded value in place of each later one that needs the fewest changes."""
        for gene in self.genes:
            for value in gene.values:
                neighbour = {**genotype, gene.name: value}
                if self._is_valid(neighbour):
                    return neighbour
        nearest = self.larger.repair(self._whole(genotype))
        for gene in self.genes:
            if nearest[gene.name] not in gene.values:
                tried = [self.larger.repair({**nearest, gene.name: value}) for value in gene.values]
                nearest = min(tried, key=lambda other: self._num_changes(genotype, other))
        return self._known(nearest) or nearest_valid(self.genes, genotype, self._is_valid)

    def _num_changes(self, genotype: Genotype, whole: Genotype) -> tuple[int, int]:
        """Genes of `whole` with later values, and genes that differ from `genotype`."""
        later = sum(whole[gene.name] not in gene.values for gene in self.genes)
        return later, sum(whole[name] != value for name, value in genotype.items())

    def _is_valid(self, genotype: Genotype) -> bool:
        whole = self._whole(genotype)
        return self.larger.repair(whole) == whole
