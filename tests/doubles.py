"""A space without networks and an evaluator without workers, for tests of the loop: both honour the contracts of
nas.protocols."""

import hashlib
import json
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nas.protocols import Calibration, Event, Failed, Finished, Job, LatencyMeasured, NetworkScored, Notice, RungReached
from nas.records import JSON, Costs, FinalFront, FinalTraining, Gene, Genotype, Latency, RungScore

TARGET: JSON = {"kind": "virtual"}


@dataclass(frozen=True)
class TinyArchitecture:
    """width ** depth, and a kernel unless depth is 1."""

    spec: tuple[tuple[str, int], ...]

    @property
    def arch_hash(self) -> str:
        return hashlib.sha256(json.dumps(self.spec).encode()).hexdigest()

    def to_spec(self) -> JSON:
        return dict(self.spec)

    def layout(self) -> str:
        return " ".join(f"{name}{value}" for name, value in self.spec)


@dataclass(frozen=True)
class TinySpace:
    """depth x width x kernel, where the kernel is switched off at depth 1; `levels` values of each, so levels ** 3
    genotypes."""

    levels: int = 4
    name: str = "tiny"
    scale: str = "nano"

    @property
    def genes(self) -> tuple[Gene, ...]:
        values = tuple(range(1, self.levels + 1))
        return tuple(Gene(name, values, ordered=True, meaning=name) for name in ("depth", "width", "kernel"))

    @property
    def space_hash(self) -> str:
        return f"tiny-{self.levels}"

    @property
    def num_genotypes(self) -> int:
        return self.levels**3

    @property
    def num_architectures(self) -> int:
        return self.levels + (self.levels - 1) * self.levels**2

    def sample(self, rng: np.random.Generator) -> Genotype:
        return {gene.name: int(rng.integers(1, self.levels + 1)) for gene in self.genes}

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        name = ("depth", "width")[int(rng.integers(2))]
        others = [value for value in range(1, self.levels + 1) if value != genotype[name]]
        return {**genotype, name: others[int(rng.integers(len(others)))]}

    def repair(self, genotype: Genotype) -> Genotype:
        return dict(genotype)

    def architecture(self, genotype: Genotype) -> TinyArchitecture:
        kernel = genotype["kernel"] if genotype["depth"] != 1 else 0
        return TinyArchitecture(
            (("depth", int(genotype["depth"])), ("kernel", int(kernel)), ("width", int(genotype["width"])))
        )

    def costs(self, architecture: TinyArchitecture) -> Costs:
        spec = architecture.to_spec()
        return Costs(
            param_count=spec["width"] * spec["depth"], macs=100 * spec["width"] * spec["depth"] + spec["kernel"]
        )

    def genotype_costs(self, genotype: Genotype) -> Costs:
        return self.costs(self.architecture(genotype))

    def parts(self, architecture: TinyArchitecture) -> Sequence[tuple[str, int]]:
        spec = architecture.to_spec()
        return [*[("layer", 100 * spec["width"])] * spec["depth"], ("kernel", spec["kernel"])]

    def presets(self) -> Mapping[str, Genotype]:
        return {"small": {"depth": 1, "width": 1, "kernel": 1}, "wide": {"depth": 1, "width": self.levels, "kernel": 1}}

    def largest(self) -> TinyArchitecture:
        return self.architecture(dict.fromkeys(("depth", "width", "kernel"), self.levels))

    def slowest(self) -> TinyArchitecture:
        return self.largest()

    def draw(self, architecture: TinyArchitecture) -> str:
        return f'<svg xmlns="http://www.w3.org/2000/svg"><text>{architecture.layout()}</text></svg>'


def tiny_top1(spec: JSON) -> float:
    """Grows with depth, width and kernel, with diminishing returns."""
    return 1 - math.exp(-(spec["depth"] + spec["width"] / 2 + spec["kernel"] / 4) / 4)


def tiny_score(proxy: str, spec: JSON) -> float:
    """A training-free score that ranks much as training does; one of another name has another scale."""
    return len(proxy) * (spec["depth"] + spec["width"] / 2)


def latency_of(spec: JSON) -> Latency:
    median = 0.5 + 0.1 * spec["depth"] * spec["width"]
    return Latency(TARGET, {}, median, 0.99 * median, 1.01 * median, 1.1 * median, 30)


def score(rung: int, top1: float) -> RungScore:
    return RungScore(rung=rung, steps=10 * (rung + 1), top1=top1, loss=1.0, duration_s=0.01)


Script = Callable[[Job], Sequence[Event]]


@dataclass
class ScriptedEvaluator:
    """Plays a script for every job: latency, rungs, end. Events of several workers come in the order of submission."""

    num_workers: int = 1
    with_latency: bool = True
    num_rungs: int = 1
    other_latencies: tuple[Latency, ...] = ()
    """On further targets, the same for every job."""
    failure: Callable[[Job], Failed | None] = lambda job: None
    """What goes wrong with a job, if anything."""
    second_timing: Callable[[Job], Latency] = lambda job: latency_of(job.spec)
    """What a job that is only timed takes."""
    on_submit: Callable[[Job], None] = lambda job: None
    notices: tuple[str, ...] = ()
    """What it says about its workers before anything else."""
    submitted: list[Job] = field(default_factory=list)
    answers: list[tuple[int, bool]] = field(default_factory=list)
    calibrations: int = 0
    evaluation_s: float = 0.01
    """Duration of one evaluation by its calibration."""
    closed: bool = False
    _jobs: dict[int, tuple[Job, deque[Event]]] = field(default_factory=dict)
    _ready: deque[Event] = field(default_factory=deque)

    def calibrate(self, slowest: JSON, typical: JSON) -> Calibration:
        self.calibrations += 1
        return Calibration(latency_of(slowest) if self.with_latency else None, self.evaluation_s)

    def submit(self, job: Job) -> None:
        assert len(self._jobs) < self.num_workers, "more jobs than workers"
        assert job.trial_number not in self._jobs
        self.submitted.append(job)
        self.on_submit(job)
        failed = self.failure(job)
        events: list[Event] = [failed] if failed else self._script(job)
        self._jobs[job.trial_number] = (job, deque(events))
        self._advance(job.trial_number)

    def _script(self, job: Job) -> list[Event]:
        number = job.trial_number
        worker = "worker 0"
        if job.proxies:
            return [NetworkScored(number, worker, {proxy: tiny_score(proxy, job.spec) for proxy in job.proxies}, {})]
        if job.timing is not None:
            return [LatencyMeasured(number, worker, self.second_timing(job)), Finished(number, worker, "virtual", None)]
        events: list[Event] = [LatencyMeasured(number, worker, latency_of(job.spec))] if self.with_latency else []
        for rung in range(self.num_rungs):
            top1 = tiny_top1(job.spec) * (rung + 1) / self.num_rungs
            events.append(RungReached(number, worker, score(rung, top1), last=rung == self.num_rungs - 1))
        return [*events, Finished(number, worker, "virtual", b"weights of %d" % number, self.other_latencies)]

    def _advance(self, number: int) -> None:
        _, events = self._jobs[number]
        event = events.popleft()
        self._ready.append(event)
        if isinstance(event, RungReached) and event.last:
            self._ready.append(events.popleft())
        if not events:
            del self._jobs[number]

    def answer(self, trial_number: int, proceed: bool) -> None:
        self.answers.append((trial_number, proceed))
        if proceed:
            self._advance(trial_number)
        else:
            del self._jobs[trial_number]
            self._ready.append(Finished(trial_number, "worker 0", "virtual", None))

    def events(self, timeout_s: float) -> Sequence[Event]:
        events = [*map(Notice, self.notices), *self._ready]
        self.notices = ()
        self._ready = deque()
        return events

    def activities(self) -> Mapping[str, str]:
        return {"worker 0": "idle"}

    def close(self) -> None:
        self.closed = True


@dataclass
class MemoryFinals:
    """A FinalsStore whose trainings end with the process."""

    trainings: list[FinalTraining] = field(default_factory=list)
    latest: FinalFront | None = None

    def record_final_training(self, study: str, training: FinalTraining) -> None:
        self.trainings.append(training)

    def final_trainings(self, study: str) -> Sequence[FinalTraining]:
        return self.trainings

    def record_final_front(self, study: str, front: FinalFront) -> None:
        self.latest = front

    def final_front(self, study: str) -> FinalFront | None:
        return self.latest
