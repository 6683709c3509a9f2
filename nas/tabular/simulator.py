"""Searches on recorded results: the same loop with an evaluator that looks results up (nas/tabular/recorded.py).

What differs between two samplers here is what they propose.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from nas.config import SearchConfig
from nas.errors import InvalidInputError
from nas.pareto.front import FrontKeeper
from nas.protocols import Evaluator, SearchSpace
from nas.records import JSON, Front, FrontMember, Genotype, TrialFacts
from nas.search.establish import assemble, knowledge_of
from nas.search.loop import Outcome
from nas.search.progress import Progress
from nas.search.study import memory_storage
from nas.search.weights import WeightsFolder
from nas.surrogates.scores import ArchitectureScore
from nas.tabular.recorded import TARGET, Levels, RecordedEvaluator, RecordedProblem, RecordedSpace

# Without a handler Python prints warnings, and thousands of simulated failures are no news.
logging.getLogger("nas").addHandler(logging.NullHandler())


@dataclass
class MemoryStore:
    """A TrialStore whose facts end with the process."""

    recorded: list[TrialFacts] = field(default_factory=list)
    latest: Front | None = None

    def record(self, study: str, facts: TrialFacts, front: Front | None) -> None:
        self.recorded.append(facts)
        self.latest = front or self.latest

    def front(self, study: str) -> Front | None:
        return self.latest

    def forget_weights(self, study: str, trial_numbers: Sequence[int]) -> None:
        """Nothing to note: nobody reads weights of a simulated training."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a simulated search did."""

    facts: tuple[TrialFacts, ...]
    """In the order in which trials ended."""
    front: tuple[FrontMember, ...]
    trained: tuple[Levels, ...]
    """In the order in which whole trainings ended."""
    points: tuple[tuple[float, float], ...]
    """(accuracy in percent, cost) of each entry of `trained`, without the luck of one training."""
    ask_s: tuple[float, ...]
    """Time of each call of the sampler, real clock."""
    clock_s: float
    """Virtual."""
    busy_s: float
    """Virtual, of all workers."""

    @property
    def counted(self) -> int:
        """Trainings that counted towards the budget."""
        return sum(trial.is_counted for trial in self.facts)

    @property
    def distinct(self) -> int:
        """Architectures that were trained, to the end or up to a rung that stopped them."""
        return len({tuple(trial.spec["levels"]) for trial in self.facts if trial.is_counted})

    @property
    def replays(self) -> int:
        """Asks that were answered from the record."""
        return len(self.ask_s) - len(self.facts)


def simulate(
    problem: RecordedProblem,
    sampler: str,
    seed: int,
    budget: int,
    *,
    workers: int = 1,
    failure_rate: float = 0.0,
    replay: bool = True,
    rungs: int = 1,
    duplicates: float = 0.0,
    scores: tuple[ArchitectureScore, ...] = (),
) -> Simulation:
    """Search a recorded problem until `budget` distinct architectures are trained or none is left.

    Args:
        workers: simultaneous trainings, asynchronous.
        failure_rate: share of the evaluations that fail, half of them by the death of a worker.
        replay: answer repeats from the record instead of training them again.
        rungs: how often a training is scored; at each but the last the worse half is stopped.
        duplicates: share of the asks that are answered with a genotype that was asked for before, whatever the sampler
            wants.
        scores: of rows of levels, for the sampler.

    Raises:
        InvalidInputError: if the sampler is unknown, or the problem has recorded fewer scores of a training.
        SearchAbortedError: if too many evaluations fail.
    """
    if problem.curve_percent and rungs > len(problem.curve_percent):
        raise InvalidInputError(
            f"--rungs is {rungs}, and {problem.name} has {len(problem.curve_percent)} scores of each training; give "
            "that or less"
        )
    objective = "latency_ms" if problem.known_cost is None else "macs"
    evaluator = RecordedEvaluator(problem, workers, seed, failure_rate, rungs)
    config = SearchConfig(
        space="recorded",
        budget=budget,
        study=problem.name,
        storage="memory",
        artifacts="",
        objectives=("top1", objective),
        sampler=sampler,
        seed=seed,
        workers=workers,
        rungs=rungs,
    )
    target = TARGET if problem.known_cost is None else None
    search = InMemorySearch(
        config, RecordedSpace(problem, replay), evaluator, (0.0, 1e18), target, duplicates, scores=scores
    )
    search.run()
    points = tuple(map(problem.result, evaluator.trained))
    return Simulation(
        tuple(search.store.recorded),
        search.keeper.members,
        tuple(evaluator.trained),
        points,
        tuple(search.ask_s),
        evaluator.clock_s,
        evaluator.busy_s,
    )


class InMemorySearch:
    """A search by the loop of nas/search/loop.py that leaves nothing behind."""

    def __init__(
        self,
        config: SearchConfig,
        space: SearchSpace,
        evaluator: Evaluator,
        reference_point: tuple[float, float],
        target: JSON | None = None,
        duplicates: float = 0.0,
        sampler_reference: tuple[float, float] | None = None,
        scores: tuple[ArchitectureScore, ...] = (),
    ) -> None:
        """Take over the parts.

        Args:
            config: its storage and artifacts are not used.
            space: where candidates come from.
            evaluator: idle.
            reference_point: (top1, cost) of the hypervolume.
            target: fingerprint that every latency must have; None when there are none.
            duplicates: share of the asks that repeat an earlier genotype.
            sampler_reference: the reference point that the sampler is told, as a search does; None lets it choose.
            scores: for the sampler.
        """
        self.store = MemoryStore()
        self.ask_s: list[float] = []
        """Time of each call of the sampler, real clock."""
        self.space = space
        self._config = config
        self._evaluator = evaluator
        self._reference_point = reference_point
        self._target = target
        self._duplicates = duplicates
        self._sampler_reference = sampler_reference
        self._scores = scores
        self._rng = np.random.default_rng((config.seed, 1))

    @property
    def genotypes(self) -> Mapping[int, Genotype]:
        """Genotype of each trial, by number, once the search runs."""
        return self._search.study.genotypes

    @property
    def keeper(self) -> FrontKeeper:
        """The front, once the search runs."""
        return self._search.keeper

    def run(self, stop_requested: Callable[[], bool] = lambda: False) -> Outcome:
        """Search until the budget is reached, nothing is left, or a stop is requested."""
        config = self._config
        with TemporaryDirectory() as folder:
            self._search = assemble(
                config=replace(config, artifacts=folder),
                space=self.space,
                knowledge=knowledge_of(self.space, config, self._sampler_reference, self._scores),
                reference_point=self._reference_point,
                target=self._target,
                facts=(),
                evaluator=self._evaluator,
                store=self.store,
                storage=memory_storage(),
                sampling=self._asking,
                weights=WeightsFolder(Path(folder), config.study),
            )
            return self._search.run(Progress(config.study, config.budget, 0, quiet=True), stop_requested=stop_requested)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Time an ask, having made some of them repeats."""
        genotypes = self._search.study.genotypes
        if genotypes and self._rng.random() < self._duplicates:
            self._search.study.enqueue(genotypes[int(self._rng.choice(list(genotypes)))])
        started = time.perf_counter()
        yield
        self.ask_s.append(time.perf_counter() - started)
