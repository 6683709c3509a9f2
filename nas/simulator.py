"""Searches on recorded results: the same loop, an evaluator that looks results up, and a clock that nobody waits for.

What differs between two samplers here is what they propose. Asynchronous workers, failures and lost workers are simulated on the virtual
clock.
"""

import contextlib
import hashlib
import heapq
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from nas.config import SearchConfig
from nas.establish import knowledge_of
from nas.front import FrontKeeper
from nas.progress import Progress
from nas.proposals import Proposer
from nas.protocols import Architecture, Calibration, Event, Failed, Finished, Job, LatencyMeasured, RungReached
from nas.records import JSON, Costs, Front, Gene, Genotype, Latency, Lease, RungScore, SearchRecord, TrialFacts
from nas.search import Search
from nas.study import SearchStudy, memory_storage

TARGET: JSON = {"kind": "recorded"}
COST_UNIT = 1e-6
"""Costs known before training travel as counts (nas.records.Costs); one count is this much."""
RETRYABLE = 0.5
"""Share of the simulated failures that are a worker's death and are tried again; the others are the architecture's own."""

Levels = tuple[int, ...]


@dataclass(frozen=True)
class RecordedProblem:
    """Genes with recorded results."""

    name: str
    genes: tuple[Gene, ...]
    """Their values are the level indices 0, 1, ..."""
    accuracy_percent: Callable[[Levels], float]
    cost: Callable[[Levels], float]
    """> 0; what a training reveals."""
    known_cost: Callable[[Levels], float] | None
    """The same before training; None when only training tells."""
    reference_point: tuple[float, float] = (0.0, 1e9)
    """(accuracy in percent, cost)."""
    front_hypervolume: float = 1.0
    """Of the true front over (accuracy in percent, ln cost)."""


@dataclass(frozen=True)
class RecordedArchitecture:
    """A row of the record."""

    levels: Levels
    salt: int = 0
    """Differs between repeats where repeats count as new."""

    @property
    def arch_hash(self) -> str:
        return hashlib.sha256(json.dumps([self.levels, self.salt]).encode()).hexdigest()

    def to_spec(self) -> JSON:
        return {"levels": list(self.levels)}

    def layout(self) -> str:
        return "".join(map(str, self.levels))


@dataclass
class RecordedSpace:
    """A SearchSpace over a recorded problem; every genotype is valid."""

    problem: RecordedProblem
    replay: bool = True
    """False trains repeats again, as a plain Optuna loop does."""
    name: str = "recorded"
    scale: str = "recorded"
    _repeats: int = 0

    @property
    def genes(self) -> tuple[Gene, ...]:
        return self.problem.genes

    @property
    def num_genotypes(self) -> int:
        return int(np.prod([float(len(gene.values)) for gene in self.genes]))

    @property
    def space_hash(self) -> str:
        return self.problem.name

    def sample(self, rng: np.random.Generator) -> Genotype:
        return {gene.name: int(rng.integers(len(gene.values))) for gene in self.genes}

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        free = [gene for gene in self.genes if len(gene.values) > 1]
        gene = free[int(rng.integers(len(free)))]
        others = [value for value in gene.values if value != genotype[gene.name]]
        return {**genotype, gene.name: others[int(rng.integers(len(others)))]}

    def repair(self, genotype: Genotype) -> Genotype:
        return genotype

    def architecture(self, genotype: Genotype) -> RecordedArchitecture:
        self._repeats += not self.replay
        return RecordedArchitecture(tuple(int(genotype[gene.name]) for gene in self.genes), self._repeats)

    def costs(self, architecture: Architecture) -> Costs:
        known = self.problem.known_cost
        return Costs(0, 0 if known is None else max(1, round(known(tuple(architecture.to_spec()["levels"])) / COST_UNIT)))

    def presets(self) -> Mapping[str, Genotype]:
        return {}

    def largest(self) -> RecordedArchitecture:
        return RecordedArchitecture(tuple(len(gene.values) - 1 for gene in self.genes))

    def slowest(self) -> RecordedArchitecture:
        return self.largest()

    def draw(self, architecture: Architecture) -> str:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>'


@dataclass
class RecordedEvaluator:
    """Looks results up. Jobs end in the order of a virtual clock; how long one takes is random, and so is whether it fails."""

    problem: RecordedProblem
    num_workers: int
    seed: int
    failure_rate: float = 0.0
    clock_s: float = 0.0
    """Virtual; one training takes 0.5 to 1.5 of it."""
    trained: list[Levels] = field(default_factory=list)
    """In the order in which trainings ended with a score."""
    _running: list[tuple[float, int, Job]] = field(default_factory=list)
    _waiting: dict[int, Job] = field(default_factory=dict)
    _ready: list[Event] = field(default_factory=list)

    def calibrate(self, slowest: JSON, typical: JSON) -> Calibration:
        return Calibration(None, 1.0)

    def submit(self, job: Job) -> None:
        if self.problem.known_cost is None:
            self._waiting[job.trial_number] = job
            cost = self.problem.cost(tuple(job.spec["levels"]))
            self._ready.append(LatencyMeasured(job.trial_number, "simulated", Latency(TARGET, {}, cost, cost, cost, cost, 1)))
        else:
            self._start(job)

    def answer(self, trial_number: int, proceed: bool) -> None:
        job = self._waiting.pop(trial_number)
        if proceed:
            self._start(job)
        else:
            self._ready.append(Finished(trial_number, "simulated", "recorded", None))

    def _start(self, job: Job) -> None:
        duration_s = 0.5 + self._rng(job, 0).random()
        heapq.heappush(self._running, (self.clock_s + duration_s, job.trial_number, job))

    def _rng(self, job: Job, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, job.trial_number, job.attempt, purpose))

    def events(self, timeout_s: float) -> Sequence[Event]:
        if not self._ready and self._running:
            self.clock_s, _, job = heapq.heappop(self._running)
            self._ready.extend(self._result(job))
        events, self._ready = self._ready, []
        return events

    def _result(self, job: Job) -> list[Event]:
        rng = self._rng(job, 1)
        if rng.random() < self.failure_rate:
            return [Failed(job.trial_number, "simulated", "simulated failure", retryable=bool(rng.random() < RETRYABLE))]
        levels: Levels = tuple(job.spec["levels"])
        self.trained.append(levels)
        score = RungScore(rung=0, steps=1, top1=self.problem.accuracy_percent(levels) / 100, loss=0.0, duration_s=0.0)
        number = job.trial_number
        return [RungReached(number, "simulated", score, last=True), Finished(number, "simulated", "recorded", None)]

    def activities(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class MemoryStore:
    """The part of a Store that the loop itself uses; facts end with the process."""

    recorded: list[TrialFacts] = field(default_factory=list)
    latest: Front | None = None

    def record(self, study: str, facts: TrialFacts, front: Front | None) -> None:
        self.recorded.append(facts)
        self.latest = front or self.latest

    def facts(self, study: str) -> Iterator[TrialFacts]:
        return iter(self.recorded)

    def front(self, study: str, version: int | None = None) -> Front | None:
        return self.latest

    def fronts(self, study: str) -> Sequence[Front]:
        return [] if self.latest is None else [self.latest]

    def forget_weights(self, study: str, trial_numbers: Sequence[int]) -> None: ...

    def create_search(self, search: SearchRecord) -> None: ...

    def search(self, study: str) -> SearchRecord | None: ...

    def searches(self) -> Sequence[SearchRecord]:
        return []

    def acquire_lease(self, study: str, lease: Lease, stale_after_s: float) -> Lease | None: ...

    def renew_lease(self, study: str, lease: Lease) -> None: ...

    def release_lease(self, study: str, lease: Lease) -> None: ...

    def record_export(self, study: str, trial_number: int, name: str, path: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a simulated search did."""

    facts: tuple[TrialFacts, ...]
    """In the order in which trials ended."""
    trained: tuple[Levels, ...]
    points: tuple[tuple[float, float], ...]
    """(accuracy in percent, cost) of each entry of `trained`."""
    ask_s: tuple[float, ...]
    """Time of each call of the sampler, real clock."""
    clock_s: float


def simulate(
    problem: RecordedProblem, sampler: str, seed: int, budget: int, *, workers: int = 1, failure_rate: float = 0.0, replay: bool = True
) -> Simulation:
    """Search a recorded problem until `budget` distinct architectures are trained or none is left.

    Args:
        workers: simultaneous trainings, asynchronous.
        failure_rate: share of the evaluations that fail, half of them by the death of a worker.
        replay: answer repeats from the record instead of training them again.

    Raises:
        InvalidInputError: if the sampler is unknown.
        SearchAbortedError: if too many evaluations fail.
    """
    objective = "latency_ms" if problem.known_cost is None else "macs"
    ask_s: list[float] = []

    @contextlib.contextmanager
    def timed() -> Iterator[None]:
        started = time.perf_counter()
        yield
        ask_s.append(time.perf_counter() - started)

    evaluator, store = RecordedEvaluator(problem, workers, seed, failure_rate), MemoryStore()
    space = RecordedSpace(problem, replay)
    target = TARGET if problem.known_cost is None else None
    with TemporaryDirectory() as folder:
        config = SearchConfig(
            space="recorded", budget=budget, study=problem.name, storage="memory", artifacts=str(Path(folder)),
            objectives=("top1", objective), sampler=sampler, seed=seed, workers=workers,
        )  # fmt: skip
        study = SearchStudy(memory_storage(), config.study, config.objectives, knowledge_of(space, config), sampler, seed)
        progress = Progress(config.study, budget, 0, quiet=True)
        Search(
            config=config, space=space, evaluator=evaluator, store=store, study=study,
            proposer=Proposer(space, study, {}, {}, seed, timed), keeper=FrontKeeper(objective, (0.0, 1e18)),
            target=target, progress=progress, check_owner=lambda: None, stop_requested=lambda: False,
        ).run()  # fmt: skip
    points = tuple((problem.accuracy_percent(levels), problem.cost(levels)) for levels in evaluator.trained)
    return Simulation(tuple(store.recorded), tuple(evaluator.trained), points, tuple(ask_s), evaluator.clock_s)
