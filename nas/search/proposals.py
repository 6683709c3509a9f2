"""From the sampler's genotypes to candidates worth evaluating: repaired, distinct, and checked against the limits that
are known."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np

from nas.errors import InvalidInputError
from nas.protocols import Architecture, SearchSpace
from nas.records import Costs, Genotype, TrialFacts
from nas.search.screening import Screen
from nas.search.study import Asked, SearchStudy, Waiting

PATIENCE = 10
"""Repeats and rejections in a row after which the sampler is passed over and a front member is mutated."""
ESCAPES = 1000
"""Mutated or random genotypes that are looked at before the space counts as exhausted."""
OPTIONS = {"param_count": "--max-params", "macs": "--max-macs"}
"""Limits that are known before timing, as the command line spells them."""
ENUMERABLE = 5000
"""A space with no more genotypes than this is enumerated instead, so that exhaustion is certain."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A distinct architecture that has not been evaluated yet."""

    asked: Asked
    genotype: Genotype
    architecture: Architecture
    costs: Costs
    constraints: Mapping[str, float]
    """Limit name -> value / limit - 1, for the limits that are known before the evaluation; feasible when all <= 0."""
    trial_number: int | None = None
    """Number of a trial that an earlier run began; None for a new one."""

    @property
    def feasible(self) -> bool:
        return all(value <= 0 for value in self.constraints.values())


def excesses(costs: Costs, limits: Mapping[str, float]) -> dict[str, float]:
    """Limit name -> value / limit - 1, for the limits that are known before timing."""
    known = {"param_count": costs.param_count, "macs": costs.macs}
    return {name: known[name] / limit - 1 for name, limit in limits.items() if name in known}


def require_reachable(space: SearchSpace, limits: Mapping[str, float]) -> None:
    """Refuse limits on size that no architecture of the space keeps.

    One gene after the other takes its value of least excess until none changes; where that is not enough, presets and
    random ones are looked at too.

    Raises:
        InvalidInputError: if none was found; the message has the one that comes nearest.
    """
    known = {name: limit for name, limit in limits.items() if name in OPTIONS}
    if not known:
        return

    def excess(genotype: Genotype) -> float:
        return max(excesses(space.genotype_costs(genotype), known).values())

    rng = np.random.default_rng(0)
    others = (space.sample(rng) for _ in range(ESCAPES))
    nearest = _least(space, excess)
    if excess(nearest) > 0:
        nearest = min(itertools.chain([nearest], space.presets().values(), others), key=excess)
    if excess(nearest) > 0:
        costs = space.genotype_costs(nearest)
        given = " and ".join(f"{OPTIONS[name]} {limit:g}" for name, limit in known.items())
        raise InvalidInputError(
            f"{given} leaves nothing of the space {space.name} at scale {space.scale}: the smallest network found has "
            f"{costs.param_count:,} parameters and {costs.macs:,} macs; give more"
        )


def _least(space: SearchSpace, excess: Callable[[Genotype], float]) -> Genotype:
    best = space.repair({gene.name: gene.values[0] for gene in space.genes})
    while True:
        start = best
        for gene in space.genes:
            best = min([best, *(space.repair({**best, gene.name: value}) for value in gene.values)], key=excess)
        if excess(best) >= excess(start):
            return start


@dataclass(slots=True)
class Proposer:
    """Turns asks into candidates; answers repeats from the record."""

    space: SearchSpace
    study: SearchStudy
    limits: Mapping[str, float]
    known: dict[str, TrialFacts]
    """arch_hash -> outcome, of every finished trial; the search adds to it."""
    seed: int
    sampling: Callable[[], AbstractContextManager[object]]
    """Entered while the sampler computes, so that nothing is timed meanwhile."""
    waiting: list[Waiting] = field(default_factory=list)
    """Trials to take up again before anything new is asked."""
    starters: list[Genotype] = field(default_factory=list)
    """Genotypes to propose before the sampler's own (warm start)."""
    screen: Screen | None = None
    """Passes over what is surely too slow; None without a latency limit."""
    misses: int = 0
    """Repeats, rejections and what was passed over since the last feasible candidate."""
    _in_flight: dict[str, list[Asked]] = field(default_factory=dict)
    _escapes: int = 0

    def next(self, parents: Sequence[Genotype]) -> Candidate | None:
        """The next candidate, feasible or (once per architecture) not.

        Args:
            parents: genotypes of the front members, which are mutated when repeats or rejections pile up.

        Returns:
            None when nothing new could be found.
        """
        while self.waiting:
            candidate = self._take_up(self.waiting.pop(0))
            if candidate is not None:
                return candidate
        while True:
            # What ends a row of misses is evaluated whatever is predicted of it, so that a wrong prediction cannot end
            # a search.
            is_escape = self.misses >= PATIENCE
            if is_escape:
                escape = self._escape(parents)
                if escape is None:
                    return None
                self.study.enqueue(escape)
            elif self.starters:
                self.study.enqueue(self.starters.pop(0))
            with self.sampling():
                asked = self.study.ask()
            candidate = self._candidate(asked, None, None if is_escape else self.screen)
            if candidate is not None:
                self.misses = 0 if candidate.feasible else self.misses + 1
                return candidate
            self.misses += 1

    def finish(self, facts: TrialFacts) -> None:
        """Note the outcome of a candidate and answer the repeats that were waiting for it."""
        self.known[facts.arch_hash] = facts
        for repeat in self._in_flight.pop(facts.arch_hash, []):
            self.study.replay(repeat, facts)

    def constraints(self, costs: Costs) -> dict[str, float]:
        """Excess over the limits that are known before timing, relative; feasible when <= 0."""
        return excesses(costs, self.limits)

    def count_architectures(self) -> int | None:
        """Number of distinct architectures of the space, for one small enough to be enumerated; else None."""
        if self.space.num_genotypes > ENUMERABLE:
            return None
        return len({self.space.architecture(genotype).arch_hash for genotype in self._enumerate()})

    def _take_up(self, waiting: Waiting) -> Candidate | None:
        self.study.enqueue(waiting.genotype)
        candidate = self._candidate(self.study.ask(), waiting.trial_number)
        if candidate is None:
            # Another version of the code may find two genotypes equal that were distinct when they were asked.
            self.study.drop(waiting.trial_number)
        return candidate

    def _candidate(self, asked: Asked, trial_number: int | None, screen: Screen | None = None) -> Candidate | None:
        genotype = self.space.repair(asked.genotype)
        architecture = self.space.architecture(genotype)
        arch_hash = architecture.arch_hash
        if arch_hash in self.known:
            self.study.replay(asked, self.known[arch_hash])
            return None
        if arch_hash in self._in_flight:
            self._in_flight[arch_hash].append(asked)
            return None
        costs = self.space.costs(architecture)
        candidate = Candidate(asked, genotype, architecture, costs, self.constraints(costs), trial_number)
        if screen is not None and candidate.feasible:
            with self.sampling():
                excess = screen.excess(genotype, arch_hash)
            if excess is not None:
                self.study.pass_over(asked, "latency_ms", excess)
                return None
        self._in_flight[arch_hash] = []
        return candidate

    def _escape(self, parents: Sequence[Genotype]) -> Genotype | None:
        self._escapes += 1
        rng = np.random.default_rng((self.seed, len(self.study.genotypes), self._escapes))
        for genotype in itertools.chain(self._strangers(parents, rng), self._enumerate()):
            architecture = self.space.architecture(genotype)
            is_new = architecture.arch_hash not in self.known and architecture.arch_hash not in self._in_flight
            if is_new and all(excess <= 0 for excess in self.constraints(self.space.costs(architecture)).values()):
                return genotype
        return None

    def _strangers(self, parents: Sequence[Genotype], rng: np.random.Generator) -> Iterator[Genotype]:
        attempts = ESCAPES if self.space.num_genotypes > ENUMERABLE else PATIENCE
        for attempt in range(attempts):
            if not parents or attempt % 4 == 3:
                yield self.space.sample(rng)
                continue
            genotype = parents[int(rng.integers(len(parents)))]
            # The radius grows while the neighbourhood turns out to be known.
            for _ in range(1 + attempt * 8 // attempts):
                genotype = self.space.mutate(genotype, rng)
            yield genotype

    def _enumerate(self) -> Iterator[Genotype]:
        if self.space.num_genotypes > ENUMERABLE:
            return
        names = [gene.name for gene in self.space.genes]
        for values in itertools.product(*(gene.values for gene in self.space.genes)):
            yield self.space.repair(dict(zip(names, values, strict=True)))
