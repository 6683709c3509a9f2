"""Recorded results as a search space and an evaluator: results are looked up, and nobody waits for the clock.

Asynchronous workers, rungs, failures and lost workers are simulated on a virtual clock.
"""

import hashlib
import heapq
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from nas.protocols import Architecture, Calibration, Event, Failed, Finished, Job, LatencyMeasured, RungReached, Traits
from nas.records import JSON, Costs, Gene, Genotype, Latency, RungScore
from nas.surrogates.scores import Fidelity

TARGET: JSON = {"kind": "recorded"}
COST_STEPS = 10**9
"""Costs known before training travel as counts (nas.records.Costs); the architecture of all first levels costs so
many."""
MUTATIONS = 100
"""Changes that are looked at for another architecture."""
RETRYABLE = 0.5
"""Share of the simulated failures that are a worker's death and are tried again; the others are the architecture's
own."""

EARLY_LOSS = 0.3
EARLY_NOISE = 0.03
"""How much lower the score at the very beginning of a training would be, and how uncertain, as shares of the last
one."""

Levels = tuple[int, ...]
Score = Callable[[Sequence[Levels]], Iterable[float]]
"""Rows -> a number for each; NaN where it knows nothing."""


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
    """Hypervolume of the true front over (accuracy in percent, ln cost)."""
    mean_percent: Callable[[Sequence[Levels]], np.ndarray] | None = None
    """Accuracies of rows without the luck of one training, in which results are reported; None if there is no luck."""
    curve_percent: Sequence[Callable[[Levels], float]] = ()
    """Accuracies of one training, each after twice the steps of the one before; the last is that of the end. Empty
    where those on the way are made up."""
    scores: Mapping[str, Score] = field(default_factory=dict)
    """What can be known of every architecture without its training, by name; larger is better or worse."""
    repair: Callable[[Levels], Levels] | None = None
    """The nearest valid row; None where every row is valid."""
    identity: Callable[[Levels], str] | None = None
    """What is the same for all valid rows of one architecture; None where each row is one."""
    traits: Traits | None = None
    """What predictions see of networks; None where they see the genes."""

    def result(self, levels: Levels) -> tuple[float, float]:
        """(accuracy in percent, cost) as they are reported."""
        return float(self.expected_percent([levels])[0]), self.cost(levels)

    def expected_percent(self, rows: Sequence[Levels]) -> np.ndarray:
        """(num_rows,): the accuracies of valid rows, in percent, as they are reported."""
        if self.mean_percent is not None:
            return self.mean_percent(rows)
        return np.array([self.accuracy_percent(levels) for levels in rows])

    def random_rows(self, count: int, rng: np.random.Generator) -> list[Levels]:
        """Valid rows, some of which may be equal."""
        drawn = rng.integers(0, [len(gene.values) for gene in self.genes], (count, len(self.genes)))
        rows = map(tuple, drawn.tolist())
        return list(rows if self.repair is None else map(self.repair, rows))


@dataclass(frozen=True)
class RecordedScore:
    """A score of rows of levels that is looked up, once for each row."""

    label: str
    score: Score
    fidelity: Fidelity = "earlier"
    _known: dict[Levels, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __call__(self, rows_ND: np.ndarray) -> np.ndarray:
        rows = list(map(tuple, rows_ND.tolist()))
        new = [levels for levels in dict.fromkeys(rows) if levels not in self._known]
        if new:
            self._known.update(zip(new, self.score(new), strict=True))
        return np.array([self._known[levels] for levels in rows])


@dataclass(frozen=True)
class RecordedArchitecture:
    """A row of the record."""

    levels: Levels
    salt: int = 0
    """Differs between repeats where repeats count as new."""
    identity: str | None = None
    """The same for all rows of an architecture; None where each row is one."""

    @property
    def arch_hash(self) -> str:
        return hashlib.sha256(json.dumps([self.identity or self.levels, self.salt]).encode()).hexdigest()

    def to_spec(self) -> JSON:
        return {"levels": list(self.levels)}

    def layout(self) -> str:
        return "".join(map(str, self.levels))


@dataclass
class RecordedSpace:
    """A SearchSpace over a recorded problem."""

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
    def traits(self) -> Traits | None:
        return self.problem.traits

    @property
    def num_genotypes(self) -> int:
        return int(np.prod([float(len(gene.values)) for gene in self.genes]))

    @property
    def space_hash(self) -> str:
        return self.problem.name

    def sample(self, rng: np.random.Generator) -> Genotype:
        return self.repair({gene.name: int(rng.integers(len(gene.values))) for gene in self.genes})

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        free = [gene for gene in self.genes if len(gene.values) > 1]
        for _ in range(MUTATIONS if free else 0):
            gene = free[int(rng.integers(len(free)))]
            others = [value for value in gene.values if value != genotype[gene.name]]
            mutant = self.repair({**genotype, gene.name: others[int(rng.integers(len(others)))]})
            if self._made(mutant) != self._made(genotype):
                return mutant
        return genotype

    def repair(self, genotype: Genotype) -> Genotype:
        if self.problem.repair is None:
            return genotype
        return dict(zip(self._names, self.problem.repair(self._levels(genotype)), strict=True))

    def architecture(self, genotype: Genotype) -> RecordedArchitecture:
        self._repeats += not self.replay
        return replace(self._made(genotype), salt=self._repeats)

    def _made(self, genotype: Genotype) -> RecordedArchitecture:
        levels = self._levels(genotype)
        return RecordedArchitecture(levels, identity=self.problem.identity and self.problem.identity(levels))

    def costs(self, architecture: Architecture) -> Costs:
        return self._costs(tuple(architecture.to_spec()["levels"]))

    def genotype_costs(self, genotype: Genotype) -> Costs:
        return self._costs(self._levels(genotype))

    def _costs(self, levels: Levels) -> Costs:
        known = self.problem.known_cost
        return Costs(0, 0 if known is None else max(1, round(known(levels) / self._cost_unit * COST_STEPS)))

    @cached_property
    def _cost_unit(self) -> float:
        assert self.problem.known_cost is not None, "only a known cost is counted"
        return self.problem.known_cost((0,) * len(self.genes))

    def _levels(self, genotype: Genotype) -> Levels:
        return tuple(map(int, map(genotype.__getitem__, self._names)))

    @cached_property
    def _names(self) -> Sequence[str]:
        return [gene.name for gene in self.genes]

    def parts(self, architecture: Architecture) -> Sequence[tuple[str, int]]:
        return [("whole", self.costs(architecture).macs)]

    def presets(self) -> Mapping[str, Genotype]:
        return {}

    def largest(self) -> RecordedArchitecture:
        return self._made(self.repair({gene.name: len(gene.values) - 1 for gene in self.genes}))

    def slowest(self) -> RecordedArchitecture:
        return self.largest()

    def draw(self, architecture: Architecture) -> str:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>'


@dataclass
class RecordedEvaluator:
    """Looks results up. Jobs end in the order of a virtual clock; how long one takes is random, and so is whether it
    fails."""

    problem: RecordedProblem
    num_workers: int
    seed: int
    failure_rate: float = 0.0
    num_rungs: int = 1
    clock_s: float = 0.0
    """Virtual; one whole training takes 0.5 to 1.5 of it."""
    busy_s: float = 0.0
    """Virtual, of all workers."""
    trained: list[Levels] = field(default_factory=list)
    """In the order in which whole trainings ended with a score."""
    _running: list[tuple[float, int, Job, int]] = field(default_factory=list)
    """End, trial, job and rung of the parts of trainings under way."""
    _waiting: dict[int, tuple[Job, int]] = field(default_factory=dict)
    """Jobs that wait for an answer, and the rung that follows."""
    _ready: list[Event] = field(default_factory=list)

    def calibrate(self, slowest: JSON, typical: JSON) -> Calibration:
        return Calibration(None, 1.0)

    def submit(self, job: Job) -> None:
        if self.problem.known_cost is None:
            self._waiting[job.trial_number] = job, 0
            cost = self.problem.cost(tuple(job.spec["levels"]))
            self._ready.append(
                LatencyMeasured(job.trial_number, "simulated", Latency(TARGET, {}, cost, cost, cost, cost, 1))
            )
        else:
            self._train(job, 0)

    def answer(self, trial_number: int, proceed: bool) -> None:
        job, rung = self._waiting.pop(trial_number)
        if proceed:
            self._train(job, rung)
        else:
            self._ready.append(Finished(trial_number, "simulated", "recorded", None))

    def _train(self, job: Job, rung: int) -> None:
        share = self._share(rung) - (self._share(rung - 1) if rung else 0.0)
        duration_s = share * (0.5 + self._rng(job, 0).random())
        self.busy_s += duration_s
        heapq.heappush(self._running, (self.clock_s + duration_s, job.trial_number, job, rung))

    def _share(self, rung: int) -> float:
        """Share of the whole training that is over at this rung."""
        return 0.5 ** (self.num_rungs - 1 - rung)

    def _rng(self, job: Job, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, job.trial_number, job.attempt, purpose))

    def events(self, timeout_s: float) -> Sequence[Event]:
        if not self._ready and self._running:
            self.clock_s, _, job, rung = heapq.heappop(self._running)
            self._ready.extend(self._result(job, rung))
        events = self._ready
        self._ready = []
        return events

    def _result(self, job: Job, rung: int) -> list[Event]:
        """Failures strike anywhere in a training; what was trained until then is lost."""
        number = job.trial_number
        rng = self._rng(job, 1 + rung)
        if rng.random() < 1 - (1 - self.failure_rate) ** (1 / self.num_rungs):
            return [Failed(number, "simulated", "simulated failure", retryable=bool(rng.random() < RETRYABLE))]
        levels: Levels = tuple(job.spec["levels"])
        last = rung == self.num_rungs - 1
        left = 1 - self._share(rung)
        top1 = self.problem.accuracy_percent(levels) / 100
        if not math.isfinite(top1):
            return [Failed(number, "simulated", f"the recorded accuracy is {top1}", retryable=False)]
        if self.problem.curve_percent:
            top1 = self.problem.curve_percent[rung - self.num_rungs](levels) / 100
        else:  # a score is lower and says less before the end
            top1 *= 1 - left * (EARLY_LOSS + EARLY_NOISE * rng.standard_normal())
        event = RungReached(
            number, "simulated", RungScore(rung=rung, steps=rung + 1, top1=top1, loss=0.0, duration_s=0.0), last
        )
        if not last:
            self._waiting[number] = job, rung + 1
            return [event]
        self.trained.append(levels)
        return [event, Finished(number, "simulated", "recorded", None)]

    def activities(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        """Nothing is held."""
