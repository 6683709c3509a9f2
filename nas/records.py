"""Value objects that travel between the packages: genes, costs, measurements, facts, fronts.

Units are in the names. top1 is a fraction in [0, 1]. Every number is finite: NaN and infinity are refused at
construction, because they are outcomes with a reason and not values (DESIGN 2.12).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, Protocol

from nas.data_facts import DataFacts

JSON = dict[str, Any]
Value = str | int
Genotype = dict[str, Value]
"""Gene name -> chosen value. Every genotype of a space has the same keys, in the same order."""

Objectives = tuple[str, ...]
"""("top1", cost) where cost is latency_ms, macs or param_count. top1 is maximised, the cost is minimised."""


def _require_finite(record: Any) -> None:
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{type(record).__name__}.{field.name} is {value}; only finite numbers are recorded")


@dataclass(frozen=True, slots=True)
class Gene:
    """One choice of a space."""

    name: str
    values: tuple[Value, ...]
    """At least one, distinct. The order matters for `ordered` genes only, but is always stable."""
    ordered: bool
    """True when neighbouring values are similar (depth, width, kernel)."""
    meaning: str
    """One line for `launch.py spaces`."""
    only_if: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    """(other gene, values): this gene has no influence unless each other gene has one of its values. Where another gene
    has conditions of its own, they stand here too."""
    or_if: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    """The same: where each of these holds, the gene has influence too, whatever `only_if` says."""

    def has_influence(self, genotype: Genotype) -> bool:
        """Whether the other genes let it change an architecture."""
        return _all_hold(self.only_if, genotype) or (bool(self.or_if) and _all_hold(self.or_if, genotype))


def _all_hold(conditions: tuple[tuple[str, tuple[Value, ...]], ...], genotype: Genotype) -> bool:
    return all(genotype[other] in values for other, values in conditions)


@dataclass(frozen=True, slots=True)
class Costs:
    """What is known before training."""

    param_count: int
    """Trainable parameters, classifier included."""
    macs: int
    """Multiply-adds of one image, fvcore's convention (norm terms included)."""


@dataclass(frozen=True, slots=True)
class Latency:
    """One timing of one architecture on one target."""

    target: JSON
    """Settings that make timings comparable (DESIGN 4): kind, device name, runtime and version, threads, batch, dtype,
    image size, memory format, compile mode. Two latencies may stand in one front only when their targets are equal."""
    conditions: JSON
    """What was observed beside the timing: host, load, clocks, temperature, time."""
    median_ms: float
    """Per batch."""
    ci_low_ms: float
    ci_high_ms: float
    """Where the median of another timing lies in 95 % of the cases; wider than the confidence interval of this median
    alone."""
    p95_ms: float
    samples: int

    def __post_init__(self) -> None:
        _require_finite(self)


@dataclass(frozen=True, slots=True)
class Retiming:
    """Members of a front that were timed once more, one right after the other. Not the latencies that their trials were
    told with."""

    target: JSON
    """Fingerprint of every one of the timings."""
    latencies: Mapping[int, Latency]
    """By trial number, in the order in which they were timed."""


@dataclass(frozen=True, slots=True)
class KeptWeights:
    """A file of trained weights: where it lies, and what proves that it is the one that was written."""

    path: str
    """File below the artifacts folder, with slashes: weights/STUDY-UID/trial-000003-HASH.safetensors."""
    sha256: str
    """SHA-256 of the file's bytes, 64 hex digits."""


@dataclass(frozen=True, slots=True)
class RungScore:
    """The score of one training at one rung."""

    rung: int
    """0-based."""
    steps: int
    """Optimizer steps done so far, from zero."""
    top1: float
    """On the validation split, after `steps`."""
    loss: float
    """Mean training loss since the previous rung."""
    duration_s: float
    """Training and validation time so far, monotonic clock, waiting for the device lock excluded."""
    micro_batches: int = 1
    """Parts into which each batch was cut for lack of memory, their gradients accumulated. Batch norms saw the parts:
    another training."""

    def __post_init__(self) -> None:
        _require_finite(self)


def cost_of(objective: str, costs: Costs, latency: Latency | None) -> float | None:
    """The value of a cost objective (latency_ms, macs or param_count); None when the latency was not measured."""
    if objective == "latency_ms":
        return None if latency is None else latency.median_ms
    return float(getattr(costs, objective))


TrialState = Literal["COMPLETE", "PRUNED", "REJECTED", "FAIL"]
"""COMPLETE: finished the last rung. PRUNED: stopped at a rung. REJECTED: over a hard limit, not trained (Optuna shows
it as PRUNED with a constraint above zero). FAIL: no score, with a reason."""
COUNTED_STATES: tuple[TrialState, ...] = ("COMPLETE", "PRUNED")
"""States that count towards the budget: the architecture was trained, to the end or up to a rung that stopped it."""


@dataclass(frozen=True, slots=True)
class TrialFacts:
    """Everything that is known about one trial once it is over; what Store.record writes in one transaction."""

    trial_number: int
    arch_hash: str
    spec: JSON
    layout: str
    costs: Costs
    seed: int
    state: TrialState
    reason: str | None = None
    """For FAIL and REJECTED."""
    latency: Latency | None = None
    """None when no objective and no limit asks for it, or when timing failed."""
    other_latencies: tuple[Latency, ...] = ()
    """On the further targets of the search. Stored with the architecture: StudyReader.timings gives them,
    StudyReader.facts does not."""
    rungs: tuple[RungScore, ...] = ()
    """Empty for REJECTED, and for a FAIL before the first rung."""
    weights: KeptWeights | None = None
    """None when they were not kept."""
    device: str = ""
    worker: str = ""
    duration_s: float = 0.0
    """From submission to the end, monotonic clock; what it waited for a worker to come up is left out."""

    @property
    def is_counted(self) -> bool:
        """Whether the trial counts towards the budget."""
        return self.state in COUNTED_STATES

    @property
    def top1(self) -> float | None:
        """Validation top1 at the last rung reached."""
        return self.rungs[-1].top1 if self.rungs else None

    def cost(self, objective: str) -> float | None:
        """The value of a cost objective (latency_ms, macs or param_count); None when it was not measured."""
        return cost_of(objective, self.costs, self.latency)


class Outcome(Protocol):
    """What a front and its history need of a trial that has ended; TrialFacts say it, and more."""

    @property
    def trial_number(self) -> int: ...

    @property
    def arch_hash(self) -> str: ...

    @property
    def state(self) -> TrialState: ...

    @property
    def is_counted(self) -> bool: ...

    @property
    def top1(self) -> float | None: ...

    @property
    def duration_s(self) -> float: ...

    def cost(self, objective: str) -> float | None:
        """The value of a cost objective; None when it was not measured."""


@dataclass(frozen=True, slots=True)
class ShortFacts:
    """An Outcome and nothing else: of ten thousand trials it is read in a tenth of the time of their facts."""

    trial_number: int
    arch_hash: str
    state: TrialState
    top1: float | None
    duration_s: float
    costs: Mapping[str, float | None]
    """By objective."""

    @property
    def is_counted(self) -> bool:
        """Whether the trial counts towards the budget."""
        return self.state in COUNTED_STATES

    def cost(self, objective: str) -> float | None:
        """The value of a cost objective; None when it was not measured."""
        return self.costs[objective]


def facts_by_number(facts: Iterable[TrialFacts]) -> dict[int, TrialFacts]:
    """Trial number -> trial, in the order given."""
    return {trial.trial_number: trial for trial in facts}


@dataclass(frozen=True, slots=True)
class FrontMember:
    """One point of a front; its numbers are those of the recorded trial."""

    trial_number: int
    arch_hash: str
    top1: float
    cost: float
    """In the unit of the study's cost objective."""


@dataclass(frozen=True, slots=True)
class Front:
    """A snapshot of the non-dominated COMPLETE trials of a study."""

    version: int
    """1, 2, ... within the study."""
    created: datetime
    """UTC."""
    reference_point: tuple[float, float]
    """(top1, cost)."""
    hypervolume: float
    """Over (top1, ln cost) against the reference point."""
    members: tuple[FrontMember, ...]
    """By ascending cost."""


FinalPurpose = Literal["tuning", "final"]
"""tuning: chooses learning rate, weight decay and drop path on validation. final: one of several seeds at the choice,
scored on test."""
FinalState = Literal["COMPLETE", "PRUNED", "FAIL"]
"""COMPLETE: finished the last rung. PRUNED: stopped at a rung. FAIL: no score, with a reason that is the architecture's
own."""


def final_key(trial_number: int, recipe_hash: str, seed: int) -> str:
    """See FinalTraining.key."""
    return f"trial-{trial_number:06d}-{recipe_hash[:16]}-seed-{seed}"


@dataclass(frozen=True, slots=True)
class FinalTraining:
    """A full training of a front member, once it is over."""

    trial_number: int
    recipe: JSON
    recipe_hash: str
    """SHA-256 (64 hex digits) of the recipe's canonical JSON."""
    seed: int
    purpose: FinalPurpose
    state: FinalState
    reason: str | None = None
    """For FAIL."""
    rungs: tuple[RungScore, ...] = ()
    """Scores on the validation split."""
    test_top1: float | None = None
    """Test top1 of a COMPLETE final training, where the data have test images."""
    weights: KeptWeights | None = None
    """Weights of a COMPLETE final training; a tuning keeps none."""
    device: str = ""

    def __post_init__(self) -> None:
        _require_finite(self)

    @property
    def key(self) -> str:
        """Names the training and its files: equal for equal trainings, whatever process does them."""
        return final_key(self.trial_number, self.recipe_hash, self.seed)

    @property
    def top1(self) -> float | None:
        """Validation top1 at the last rung reached."""
        return self.rungs[-1].top1 if self.rungs else None

    @property
    def duration_s(self) -> float:
        """Training and validation time up to the last rung, waiting excluded."""
        return self.rungs[-1].duration_s if self.rungs else 0.0


FinalSplit = Literal["test", "validation"]


@dataclass(frozen=True, slots=True)
class Finalist:
    """What the final trainings of one architecture say about it."""

    trial_number: int
    arch_hash: str
    recipe_hash: str
    """Hash of the recipe that the tuning chose."""
    seeds: tuple[int, ...]
    """Seeds of the final trainings, at least two."""
    top1: float
    """Mean over the seeds on the split of the final front."""
    top1_std: float
    """Sample standard deviation over the seeds."""
    top1_low: float
    top1_high: float
    """95 % Student t interval of the mean."""
    cost: float
    """In the unit of the study's cost objective."""
    cost_low: float
    cost_high: float
    """95 % interval of a latency; equal to the cost where that is counted."""
    on_front: bool
    """Whether no other finalist is at least as good in both, and better in one, by mean top1 and cost."""
    front_probability: float
    """Share of random draws from both intervals in which it is on the front."""

    def __post_init__(self) -> None:
        _require_finite(self)


@dataclass(frozen=True, slots=True)
class FinalFront:
    """All finalists of one finalization, on the front or not."""

    version: int
    """1, 2, ... within the study."""
    created: datetime
    """UTC."""
    split: FinalSplit
    """On which top1 was measured: test, or validation where the data have no test images."""
    finalists: tuple[Finalist, ...]
    """By ascending cost, then ascending top1, then trial number."""

    @property
    def members(self) -> tuple[FrontMember, ...]:
        """Those on the front, by ascending cost."""
        return tuple(FrontMember(f.trial_number, f.arch_hash, f.top1, f.cost) for f in self.finalists if f.on_front)


@dataclass(frozen=True, slots=True)
class FullTraining:
    """A finalist with the one of its final trainings whose weights represent it."""

    finalist: Finalist
    split: FinalSplit
    training: FinalTraining
    """The one with the highest validation top1: choosing by test would spoil the test."""
    scores: tuple[float, ...]
    """top1 of all its final trainings on that split, in the order of the seeds."""


@dataclass(frozen=True, slots=True)
class Export:
    """A trial that was written to a model zoo."""

    trial_number: int
    name: str
    """Name of the zoo's entry."""
    path: str
    """Folder of the entry, absolute on the host that wrote it."""
    exported: datetime
    """UTC."""


Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """What a study is: fixed at its creation, compared on every resume (DESIGN 2.14)."""

    name: str
    uid: str
    """Random, 32 hex digits. Two databases may hold studies of one name; the files of each lie under its own id."""
    space: str
    space_module: str
    """Where a space that is not one of ours comes from: FILE.py or package.module; empty for ours."""
    scale: str
    mixers: str
    """What the space may choose among, by commas; empty where it offers no choice."""
    space_hash: str
    objectives: Objectives
    reference_point: tuple[float, float]
    """(top1, cost)."""
    data: str
    """Short name of the data."""
    data_location: str
    """What opened them when the study was created (digits, cifar10:DIR, ...). Another host may have them elsewhere: the
    fingerprint says whether they are the same."""
    data_fingerprint: str
    recipe: JSON
    """Recipe and rungs."""
    target: JSON | None
    """Latency target settings (no measured part); None when no latency is asked for."""
    limits: Mapping[str, float]
    """Hard limits: a subset of latency_ms, param_count, macs."""
    seed: int
    device: Device
    """What candidates are trained on; another run may change it."""
    artifacts: str
    """Folder of weights and drawings when the study was created."""
    config: JSON
    """The whole configuration as given, storage password redacted. Information only, never compared."""
    code_version: str
    created: datetime
    """UTC."""
    data_facts: DataFacts | None = None
    """What the data were when the study was created; None where a function of the caller's evaluated."""

    @property
    def preprocessing(self) -> JSON:
        """See DataFacts.preprocessing; empty without data."""
        return {} if self.data_facts is None else self.data_facts.preprocessing

    @property
    def cost_objective(self) -> str:
        """The objective that is minimised: latency_ms, macs or param_count."""
        return self.objectives[1]


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process of one machine (nas.processes.machine), safe against reuse of the number."""

    pid: int
    start_time: float
    """Seconds; nas.processes.process_id says on which clock."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who coordinates a study now."""

    host: str
    """Name of the host, for people: two machines may have one name, and one machine may get another."""
    process: ProcessId
    heartbeat: datetime
    """UTC, by the clock of the owner."""
    machine: str = ""
    """Where the number of the process means something (nas.processes.machine); empty where nobody can tell."""
    token: str = ""
    """Drawn at random when the study was taken: this owner, and no other."""
    ray_processes: tuple[ProcessId, ...] = ()
    """What the owner's local Ray session started; a takeover ends exactly these."""
    ray_session: str = ""
    """Path of that session's folder; it stands in the command line of every process of the session. Empty without a
    local Ray."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables that a program keeps in a database."""

    owner: str
    """Who the program is, for people."""
    version_table: str
    """Table with the version of the others, as alembic writes it."""
    version: str
    """The newest one."""
    all_versions: Callable[[], Sequence[str]]
    """Every version that the program knows; asked where the database is of another than the newest."""
    columns: Mapping[str, frozenset[str]]
    """Table -> columns of the newest version."""
    update: str
    """What to do when the database is newer than the program."""
    upgrade: str = ""
    """What to do when it is older, with {url} for its URL; empty where opening it upgrades it."""
    indexes: frozenset[str] = frozenset()
    """Names of indexes that cannot be made where another table has one of that name."""
