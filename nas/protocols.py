"""The three interfaces between the packages: SearchSpace, Evaluator and Store, whole or the part that a user needs.

Everything that the loop needs from the other packages stands here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nas.data_facts import DataFacts
from nas.records import (
    JSON,
    Costs,
    Export,
    FinalFront,
    FinalTraining,
    Front,
    Gene,
    Genotype,
    Latency,
    Lease,
    Retiming,
    RungScore,
    StudyRecord,
    TrialFacts,
)


class Architecture(Protocol):
    """A point of a space in canonical form: equal networks have equal hashes."""

    @property
    def arch_hash(self) -> str:
        """SHA-256 (64 hex digits) of the canonical JSON of what is built; image size, input channels and classes
        included."""
        ...

    def to_spec(self) -> JSON:
        """JSON from which the network is built; what the database, the workers and the zoo keep."""
        ...

    def layout(self) -> str:
        """One readable line, for people."""
        ...


@dataclass(frozen=True, slots=True)
class Traits:
    """What predictions see of networks in place of the genes: equal networks have equal traits.

    Where genotypes are not one to one with networks, more is predicted from as many trainings with them. The sampler's
    own surrogate sees the genes.
    """

    described: tuple[Gene, ...]
    """Name, values and order of each trait. Conditions are not read."""
    levels: Callable[[np.ndarray], np.ndarray]
    """Canonical rows of levels of the genes, (num_rows, num_genes) int -> those of the traits, (num_rows, num_traits)
    int; also of rows that are not valid."""


class SearchSpace(Protocol):
    """A set of architectures that a genotype addresses. Needs no torch: nothing is built here."""

    @property
    def name(self) -> str: ...

    @property
    def scale(self) -> str: ...

    @property
    def genes(self) -> tuple[Gene, ...]: ...

    @property
    def num_genotypes(self) -> int:
        """Number of combinations of gene values: at least the number of architectures."""
        ...

    @property
    def space_hash(self) -> str:
        """SHA-256 of genes, scale, image size, channels and classes: two spaces with equal hashes give equal
        architectures."""
        ...

    def sample(self, rng: np.random.Generator) -> Genotype:
        """A valid genotype, every gene uniform before repair."""
        ...

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """A valid genotype whose architecture differs from that of `genotype` wherever the space has another one."""
        ...

    def repair(self, genotype: Genotype) -> Genotype:
        """The nearest valid genotype: pure, idempotent, the identity on valid ones (DESIGN 2.8).

        Raises:
            InvalidInputError: if a gene is missing, unknown, or has a value that is not one of its values.
        """
        ...

    def architecture(self, genotype: Genotype) -> Architecture:
        """Canonical form of a valid genotype; switched-off genes have no influence."""
        ...

    def costs(self, architecture: Architecture) -> Costs:
        """Costs of the network, without building it."""
        ...

    def genotype_costs(self, genotype: Genotype) -> Costs:
        """Costs of the architecture of the nearest valid genotype, in microseconds: a sampler compares thousands of
        candidates in one ask.

        The genotype has a value of each gene; this is not checked.
        """
        ...

    def parts(self, architecture: Architecture) -> Sequence[tuple[str, int]]:
        """What it is built of, in order, as (kind, multiply-adds): parts of one kind take similar time where their
        multiply-adds are equal.

        The multiply-adds add up to those of `costs`.
        """
        ...

    def presets(self) -> Mapping[str, Genotype]:
        """Published layouts projected to the scale, valid; the warm start of a search."""
        ...

    def largest(self) -> Architecture:
        """The architecture with the most macs that the genes reach (approximately is enough): the reference of macs and
        param_count."""
        ...

    def slowest(self) -> Architecture:
        """The architecture that is expected to take longest, whatever the device: the reference of latency_ms.

        Small kernels cost time and few macs, so this is not always the largest one.
        """
        ...

    def draw(self, architecture: Architecture) -> str:
        """An SVG picture of the layout."""
        ...


def mixers_of(space: SearchSpace) -> str:
    """What a space that offers a choice of mixers may choose among, by commas; empty for every other space."""
    return str(getattr(space, "mixers", ""))


def traits_of(space: SearchSpace) -> Traits | None:
    """What predictions see of its networks; None where they see the genes."""
    traits: Traits | None = getattr(space, "traits", None)
    return traits


def mixer_set_names(space: SearchSpace) -> Mapping[str, str]:
    """Mixers by commas -> the name of that set; empty for a space that offers no choice of them."""
    names: Mapping[str, str] = getattr(space, "mixer_set_names", {})
    return names


MAX_RETRIES = 2
"""How often a job is tried again where the machine is to blame for its end."""


@dataclass(frozen=True, slots=True)
class Job:
    """One candidate to evaluate."""

    trial_number: int
    spec: JSON
    seed: int
    """Seed of initialisation and data order; one for all candidates of a study unless the recipe says otherwise."""
    attempt: int = 0
    """0, then up to MAX_RETRIES."""
    timing: int | None = None
    """Only time it, on this target of the search, 0 for the first: LatencyMeasured, and whatever the answer Finished
    without weights."""
    proxies: tuple[str, ...] = ()
    """Only compute these training-free scores of the network: NetworkScored and nothing else. Such a job is no trial,
    and its number is negative."""


@dataclass(frozen=True, slots=True)
class Started:
    """Before the first event of a job that had to wait for its worker to come up. On a worker that is up a job begins
    at once, without."""

    trial_number: int
    worker: str


@dataclass(frozen=True, slots=True)
class LatencyMeasured:
    """First event of a job when the study asks for latency. The job waits for `answer`."""

    trial_number: int
    worker: str
    latency: Latency


@dataclass(frozen=True, slots=True)
class RungReached:
    """One event per rung. The job waits for `answer`, except at the last rung, after which Finished follows without
    one."""

    trial_number: int
    worker: str
    score: RungScore
    last: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """The job is over: it reached the last rung, or was answered with stop."""

    trial_number: int
    worker: str
    device: str
    weights: bytes | None
    """safetensors, for a job that reached the last rung; None for one that was stopped."""
    other_latencies: tuple[Latency, ...] = ()
    """On the further targets of the search; none for a job that was stopped after the first."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The job is over without a score."""

    trial_number: int
    worker: str
    reason: str
    retryable: bool
    """True when the machine is to blame (dead actor, timeout, CUDA error), False when the architecture is (non-finite
    loss, out of memory on an otherwise free device)."""


@dataclass(frozen=True, slots=True)
class NetworkScored:
    """The end of a job that asked for training-free scores."""

    trial_number: int
    """The job's, below 0."""
    worker: str
    values: Mapping[str, float]
    """Proxy -> its finite value."""
    reasons: Mapping[str, str]
    """Proxy -> why it has none."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about the workers as a whole that the user should hear: a machine left or came."""

    text: str
    """One line."""


Event = Started | LatencyMeasured | RungReached | Finished | Failed | NetworkScored | Notice


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is measured before a search spends anything."""

    reference_latency: Latency | None
    """Latency of the slowest architecture; None when the study asks for no latency."""
    evaluation_s: float
    """Estimated duration of one evaluation (timing and training) on one worker."""
    data_fingerprint: str = ""
    """SHA-256 of the data that the worker found; empty where there are none."""
    data_facts: DataFacts | None = None
    """What the worker knows of its data."""


class Evaluator(Protocol):
    """Evaluates jobs on `num_workers` workers, asynchronously. One thread calls it."""

    @property
    def num_workers(self) -> int:
        """Jobs that can be worked on now. It may change while jobs are in flight, when machines leave or come."""
        ...

    def calibrate(self, slowest: JSON, typical: JSON) -> Calibration:
        """Time the spec `slowest` and estimate the evaluation of the spec `typical`, by doing a small part of it.

        Raises:
            EvaluatorError: if no worker can do it; the message has the reason.
        """
        ...

    def submit(self, job: Job) -> None:
        """Start the job on a free worker, or on the next one if a worker was lost. At most `num_workers` jobs, or those
        that were in flight before, are in flight; one more is a caller's error."""
        ...

    def answer(self, trial_number: int, proceed: bool) -> None:
        """Let the job that waits after its last event go on, or stop it; Finished follows either way."""
        ...

    def events(self, timeout_s: float) -> Sequence[Event]:
        """The events since the last call; waits up to timeout_s for the first one. Empty after a time-out.

        Raises:
            EvaluatorError: if no worker is left and none can be started.
        """
        ...

    def activities(self) -> Mapping[str, str]:
        """Worker -> what it does now ("trial 12: training"), for display."""
        ...

    def close(self) -> None:
        """End every process of the evaluator. Jobs in flight are lost. May be called twice."""
        ...


class TrialStore(Protocol):
    """What the loop needs of a store: where facts and fronts go. Every method is one transaction and leaves none open.

    Raises (every method):
        NasError: with a message that has no password, if the database fails.
    """

    def front(self, study: str) -> Front | None:
        """The latest snapshot; None when there is none yet."""
        ...

    def record(self, study: str, facts: TrialFacts, front: Front | None) -> None:
        """Write the facts of a trial and, when it changed the front, the new snapshot, in one transaction.

        A second call for the same trial number replaces nothing and is an error: facts are stored once.
        """
        ...

    def forget_weights(self, study: str, trial_numbers: Sequence[int]) -> None:
        """Note that the weights of these trials are no longer kept."""
        ...


class FinalsStore(Protocol):
    """What a finalization needs of a store. Transactions and errors as in TrialStore."""

    def record_final_training(self, study: str, training: FinalTraining) -> None:
        """Write a full training of a recorded trial. A second one of the same trial, recipe and seed is an error."""
        ...

    def final_trainings(self, study: str) -> Sequence[FinalTraining]:
        """In the order in which they ended."""
        ...

    def record_final_front(self, study: str, front: FinalFront) -> None:
        """Append a snapshot; the final trainings that it names are recorded already."""
        ...

    def final_front(self, study: str) -> FinalFront | None:
        """The latest one; None when there is none yet."""
        ...


class Leases(Protocol):
    """Who coordinates which study. Transactions and errors as in TrialStore."""

    def acquire_lease(self, study: str, lease: Lease, silent: Lease | None = None) -> Lease | None:
        """Make `lease` the owner of the study, atomically. The study need not exist yet.

        Args:
            study: its name.
            lease: who wants it.
            silent: an owner whose heartbeat stood still for so long that it counts as dead; it is followed if nothing
                of it has changed.

        Returns:
            The lease that was taken over: the silent owner's, or that of a process of this machine which is dead. None
            when there was none.

        Raises:
            StudyLockedError: if the owner is alive, or may be; the message names host, pid and heartbeat.
        """
        ...

    def lease(self, study: str) -> Lease | None:
        """Who owns the study now; None when nobody does, or the owner is known to be dead."""
        ...

    def renew_lease(self, study: str, lease: Lease) -> None:
        """Write heartbeat and Ray processes of the owner. In an outage it does not wait.

        Raises:
            StudyLockedError: if another process has become the owner meanwhile.
            UnavailableError: if the same may succeed later.
        """
        ...

    def release_lease(self, study: str, lease: Lease) -> None:
        """Give the study up; nothing happens if another process owns it."""
        ...


class StudyReader(Protocol):
    """What reports, explanations, exports and finalizations read of a database; a lease is not needed for it.

    A study that is unknown has no facts, fronts or trainings. Transactions and errors as in TrialStore.
    """

    def study(self, name: str) -> StudyRecord | None: ...

    def studies(self) -> Sequence[StudyRecord]:
        """All studies, by creation."""
        ...

    def facts(self, study: str) -> Iterator[TrialFacts]:
        """All recorded trials of a study, in the order in which they ended (were recorded)."""
        ...

    def front(self, study: str) -> Front | None:
        """The latest snapshot; None when there is none yet."""
        ...

    def check_fronts(self, study: str) -> list[str]:
        """Prove that the recorded fronts equal the facts: the latest one is computed anew, of all others every member
        is compared.

        Returns:
            One line per difference; empty when there is none.

        Raises:
            InvalidInputError: if there is no such study.
        """
        ...

    def timings(self, study: str) -> Mapping[int, Sequence[Latency]]:
        """Trial number -> every timing of its architecture, on whatever target, its own included, oldest first; no
        retiming."""
        ...

    def retimings(self, study: str) -> Sequence[Retiming]:
        """Oldest first."""
        ...

    def final_trainings(self, study: str) -> Sequence[FinalTraining]:
        """In the order in which they ended."""
        ...

    def final_front(self, study: str) -> FinalFront | None:
        """The latest one; None when there is none yet."""
        ...

    def exports(self, study: str) -> Sequence[Export]:
        """Oldest first; a trial that was exported anew stands in it again."""
        ...


class Store(TrialStore, FinalsStore, Leases, StudyReader, Protocol):
    """A whole database: facts in, fronts out. Transactions and errors as in TrialStore.

    One coordinator, which holds the lease, writes a study; the timings of `profile` and the exports need none.
    """

    def create_study(self, study: StudyRecord) -> None:
        """Add a study.

        Raises:
            InvalidInputError: if one of that name exists.
        """
        ...

    def record_retiming(self, study: str, retiming: Retiming) -> None:
        """Write the second timings of recorded trials; their facts and every front stay as they are.

        Raises:
            InvalidInputError: if there is no such study or trial.
        """
        ...

    def record_latency(self, study: str, trial_number: int, latency: Latency) -> None:
        """Add a later timing of a trial's architecture; its own facts and the study's front stay as they are.

        Raises:
            InvalidInputError: if there is no such trial.
        """
        ...

    def record_export(self, study: str, trial_number: int, name: str, path: str) -> None:
        """Note that a trial was written to a model zoo.

        Args:
            study: its name.
            trial_number: a recorded trial.
            name: of the zoo's entry.
            path: absolute folder of the entry.

        Raises:
            InvalidInputError: if there is no such study or trial.
        """
        ...
