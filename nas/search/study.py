"""The Optuna study of a search: the recorded one that people see, and the sampler's own in memory.

Asking a sampler through a database costs one transaction per parameter, so genotypes are sampled in memory and a trial
is written whole. The recorded study holds one trial per architecture; a repeat is answered in memory only (DESIGN 2.4,
2.6).
"""

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb.models import BaseModel
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from nas.backoff import NO_WAITING, Backoff
from nas.errors import InvalidInputError, NasError
from nas.records import JSON, Gene, Genotype, Objectives, Schema, TrialFacts, Value
from nas.samplers.ehvi_sampler import EhviSampler
from nas.samplers.knowledge import COST, CURVE, Knowledge
from nas.samplers.registry import make_sampler
from nas.search.attributes import TRUSTED, constraint_attributes, trust_attribute

T = TypeVar("T")

Storage = BaseStorage
"""What keeps the recorded study."""

DIRECTIONS = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
_STATES = {
    "COMPLETE": TrialState.COMPLETE,
    "PRUNED": TrialState.PRUNED,
    "REJECTED": TrialState.PRUNED,
    "FAIL": TrialState.FAIL,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A genotype that the sampler proposed and that it expects an answer for."""

    trial: Trial
    genotype: Genotype
    """As sampled, not repaired."""
    trusted: str | None = None
    """Label of the score around which top1 was predicted."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A recorded trial that an earlier run began and did not finish."""

    trial_number: int
    genotype: Genotype


@cache
def optuna_schema() -> Schema:
    """The tables of the installed Optuna."""
    storage = RDBStorage("sqlite://")
    version = storage.get_head_version()
    all_versions = storage.get_all_versions()
    storage.engine.dispose()
    return Schema(
        owner="Optuna",
        version_table="alembic_version",
        version=version,
        all_versions=lambda: all_versions,
        columns={name: frozenset(table.columns.keys()) for name, table in BaseModel.metadata.tables.items()},
        update="update Optuna (pip install -U optuna)",
        upgrade="upgrade them (optuna storage upgrade --storage {url})",
    )


def open_optuna_storage(url: str, engine_kwargs: Mapping[str, object], *, create: bool = True) -> RDBStorage:
    """Open Optuna's storage, and create its tables where that is wanted.

    Raises:
        NasError: if the database fails; `url` itself is never part of the message.
    """
    template = url.replace("{", "{{").replace("}", "}}")  # Optuna fills in its version
    with _storage_errors():
        return RDBStorage(template, engine_kwargs=dict(engine_kwargs), skip_table_creation=not create)


def memory_storage() -> Storage:
    """A storage that ends with the process, for simulations."""
    return optuna.storages.InMemoryStorage()


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        text = " ".join(str(error.__cause__ or error).split())
        raise NasError(f"the study's database failed: {text}") from error


def distributions_of(genes: Sequence[Gene]) -> dict[str, BaseDistribution]:
    """One distribution per gene: integers where the values are evenly spaced, categories elsewhere."""
    return {gene.name: _distribution(gene) for gene in genes}


def _distribution(gene: Gene) -> BaseDistribution:
    numbers = [value for value in gene.values if isinstance(value, int)]
    steps = {high - low for low, high in itertools.pairwise(numbers)}
    if gene.ordered and len(numbers) == len(gene.values) and len(steps) == 1 and min(steps) > 0:
        return IntDistribution(numbers[0], numbers[-1], step=steps.pop())
    return CategoricalDistribution(gene.values)


class SearchStudy:
    """One study, owned by one coordinator. Not safe for threads."""

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        objectives: Objectives,
        knowledge: Knowledge,
        sampler: str,
        seed: int,
        backoff: Backoff = NO_WAITING,
    ) -> None:
        """Create the recorded study, or continue the one of that name; `backoff` says how long an outage of the
        database is waited for.

        Raises:
            InvalidInputError: if the sampler is unknown.
            NasError: if the database fails.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # With Optuna's cache in front, a new trial's number costs no query (see _number_of).
        self._storage = optuna.storages.get_storage(storage)
        self._database = storage if isinstance(storage, RDBStorage) else None
        self._objectives = objectives
        self._distributions = distributions_of(knowledge.genes)
        self._backoff = backoff
        self._study_id = self._storing(lambda: self._open(name))
        past = self._storing(lambda: self._storage.get_all_trials(self._study_id, deepcopy=False))
        self._trial_ids = {trial.number: trial._trial_id for trial in past}
        self._past = past
        self.genotypes: dict[int, Genotype] = {trial.number: dict(trial.params) for trial in past}
        """Valid genotype of every recorded trial, by number."""
        # A resumed sampler must not repeat the random numbers of the first run.
        self._memory = optuna.create_study(
            directions=DIRECTIONS, sampler=make_sampler(sampler, seed + len(past), knowledge)
        )
        self._asked: dict[int, Asked] = {}
        self._constraints: dict[int, Mapping[str, float]] = {}

    def _open(self, name: str) -> int:
        recorded = optuna.create_study(
            study_name=name, storage=self._storage, directions=DIRECTIONS, load_if_exists=True
        )
        if recorded.metric_names is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                recorded.set_metric_names(list(self._objectives))
        return self._storage.get_study_id_from_name(name)

    def _storing(self, call: Callable[[], T]) -> T:
        """Read or write the recorded study, once the database can be used. The call may be made again although it went
        through, when its answer was lost."""

        def translated() -> T:
            with _storage_errors():
                return call()

        return self._backoff.until_done(translated)

    def reconcile(self, facts: Mapping[int, TrialFacts]) -> list[Waiting]:
        """Bring the trials of earlier runs in order, once, before the first ask.

        A RUNNING trial whose facts are recorded is told; one without goes back to WAITING. The sampler learns all that
        is finished.

        Args:
            facts: recorded facts by trial number.

        Returns:
            The trials to evaluate first, by number.
        """
        waiting = []
        for trial in self._past:
            known = facts.get(trial.number)
            if not trial.state.is_finished() and known is not None:
                self._tell_recorded(trial._trial_id, known)
            elif not trial.state.is_finished():
                if trial.state == TrialState.RUNNING:
                    self._set_state(trial._trial_id, TrialState.WAITING)
                waiting.append(Waiting(trial.number, dict(trial.params)))
            if known is not None:
                self._memory.add_trial(self._as_finished(trial, known))
        self._past = []
        return waiting

    def ask(self) -> Asked:
        """A new genotype from the sampler, or the oldest enqueued one."""
        trial = self._memory.ask(self._distributions)
        sampler = self._memory.sampler
        trusted = sampler.trusted if isinstance(sampler, EhviSampler) else None
        return Asked(trial, dict(trial.params), trusted)

    def enqueue(self, genotype: Genotype) -> None:
        """Let the next ask return this genotype."""
        self._memory.enqueue_trial(dict(genotype))

    def start(
        self,
        asked: Asked,
        genotype: Genotype,
        constraints: Mapping[str, float],
        user_attributes: Mapping[str, object],
        system_attributes: Mapping[str, object],
    ) -> int:
        """Record a RUNNING trial, whole, in one transaction.

        Args:
            asked: what the sampler proposed; it is answered when the trial is told.
            genotype: the valid one that is evaluated.
            constraints: limit name -> value, feasible when <= 0; those that are known before the evaluation.
            user_attributes: what people see beside the trial, JSON values.
            system_attributes: what Optuna's tools see (artifacts), JSON values.

        Returns:
            The trial's number.
        """
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(genotype),
            distributions=self._distributions,
            user_attrs={**user_attributes, **trust_attribute(asked.trusted)},
            system_attrs={**system_attributes, **_constraint_attributes(constraints)},
        )
        trial_id = self._create(template)
        number = self._storing(lambda: self._number_of(trial_id))
        self._trial_ids[number] = trial_id
        self.genotypes[number] = genotype
        self._expect(number, asked, constraints)
        return number

    def _create(self, template: FrozenTrial) -> int:
        """Record a new trial, once; its id."""
        tried = False

        def create() -> int:
            nonlocal tried
            known = self._find_new(template) if tried else None
            tried = True
            if known is not None:
                return known
            with self._one_flush():
                return self._storage.create_new_trial(self._study_id, template)

        return self._storing(create)

    def _find_new(self, template: FrozenTrial) -> int | None:
        """A trial with these parameters that an attempt of ours has recorded; no two trials of a study share them."""
        for trial in self._storage.get_all_trials(self._study_id, deepcopy=False):
            if trial.number not in self.genotypes and trial.params == template.params:
                return trial._trial_id
        return None

    def _set_state(self, trial_id: int, state: TrialState, values: list[float] | None = None) -> None:
        def set_once() -> None:
            try:
                self._storage.set_trial_state_values(trial_id, state, values)
            except optuna.exceptions.UpdateFinishedTrialError:
                if self._storage.get_trial(trial_id).state != state:  # else an earlier attempt went through
                    raise

        self._storing(set_once)

    def _number_of(self, trial_id: int) -> int:
        """The number of a new trial: the next one, unless somebody else added a trial. Optuna's cache confirms that;
        asked for the number, it reads the whole trial back, five queries."""
        expected = len(self.genotypes)
        if self._storage.get_trial_id_from_study_id_trial_number(self._study_id, expected) == trial_id:
            return expected
        return self._storage.get_trial_number_from_id(trial_id)

    def _one_flush(self) -> AbstractContextManager[object]:
        """Let a new trial's parameters be inserted together: a fifth of the time goes where each query that Optuna
        makes between two of them sends the one before."""
        return contextlib.nullcontext() if self._database is None else self._database.scoped_session().no_autoflush

    def restart(self, asked: Asked, number: int, constraints: Mapping[str, float]) -> None:
        """Set a WAITING trial RUNNING again under its old number."""
        self._set_state(self._trial_ids[number], TrialState.RUNNING)
        self._expect(number, asked, constraints)

    def _expect(self, number: int, asked: Asked, constraints: Mapping[str, float]) -> None:
        self._asked[number] = asked
        self._constraints[number] = constraints

    def constrain(self, number: int, constraints: Mapping[str, float]) -> None:
        """Replace a trial's constraints, once another became known after the start (measured latency, again after a
        retry)."""
        for key, attribute in _constraint_attributes(constraints).items():
            set_attribute = partial(self._storage.set_trial_system_attr, self._trial_ids[number], key, attribute)
            self._storing(set_attribute)
        self._constraints[number] = constraints

    def annotate(self, number: int, attributes: Mapping[str, object]) -> None:
        """Add user attributes to a RUNNING trial."""
        for key, value in attributes.items():
            self._storing(partial(self._storage.set_trial_user_attr, self._trial_ids[number], key, value))

    def tell(self, number: int, facts: TrialFacts) -> None:
        """Finish a trial, in the record first and for the sampler after."""
        self._tell_recorded(self._trial_ids[number], facts)
        asked = self._asked.pop(number)
        # Not before: in Optuna a constraint is set once, and a retry may measure another latency.
        for name, value in self._constraints.pop(number).items():
            asked.trial.set_constraint(name, value)
        self.replay(asked, facts)

    def replay(self, asked: Asked, facts: TrialFacts) -> None:
        """Answer the sampler with a recorded outcome, at no cost."""
        values = self._values(facts)
        for key, value in self._curve(facts).items():
            asked.trial.set_user_attr(key, value)
        self._memory.tell(asked.trial, values, state=_STATES[facts.state])

    def pass_over(self, asked: Asked, name: str, excess: float) -> None:
        """Answer the sampler that what it proposed is over a limit, without a trial."""
        asked.trial.set_constraint(name, excess)
        self._memory.tell(asked.trial, state=TrialState.PRUNED)

    def keep(self, key: str, value: JSON) -> None:
        """Record a value beside the trials, in place of the one of that key."""
        self._storing(partial(self._storage.set_study_system_attr, self._study_id, key, value))

    def drop(self, number: int) -> None:
        """Fail a WAITING trial that will not be taken up."""
        self._set_state(self._trial_ids[number], TrialState.FAIL)

    def release(self, number: int) -> None:
        """Put a RUNNING trial back to WAITING, for the next run."""
        self._set_state(self._trial_ids[number], TrialState.WAITING)
        self._asked.pop(number, None)
        self._constraints.pop(number, None)

    def _tell_recorded(self, trial_id: int, facts: TrialFacts) -> None:
        self._set_state(trial_id, _STATES[facts.state], self._values(facts))

    def _values(self, facts: TrialFacts) -> list[float] | None:
        if facts.state != "COMPLETE":
            return None
        top1 = facts.top1
        cost = facts.cost(self._objectives[1])
        assert top1 is not None and cost is not None, "a COMPLETE trial has both values"
        return [top1, cost]

    def _curve(self, facts: TrialFacts) -> dict[str, Any]:
        """What a sampler may learn from a stopped training, and from a timing after which none began; Optuna gives
        neither values."""
        cost = facts.cost(self._objectives[1])
        if cost is None:
            return {}
        learned: dict[str, Any] = {COST: cost}
        if facts.rungs:
            learned[CURVE] = [score.top1 for score in facts.rungs]
        return learned

    def _as_finished(self, trial: FrozenTrial, facts: TrialFacts) -> FrozenTrial:
        constraints = {name: value for name, value in trial.constraints.items() if not name.isdigit()}
        return create_trial(
            state=_STATES[facts.state],
            values=self._values(facts),
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=self._curve(facts),
            constraints=constraints,
        )


def _constraint_attributes(constraints: Mapping[str, float]) -> dict[str, Any]:
    return constraint_attributes(constraints) if constraints else {}


def recorded_genotypes(storage: BaseStorage, name: str) -> dict[int, Genotype]:
    """Valid genotype of every trial of a study, by number; reads only.

    Raises:
        InvalidInputError: if Optuna has no study of that name.
        NasError: if the database fails.
    """
    with _storage_errors():
        if not has_study(storage, name):
            raise InvalidInputError(
                f"Optuna has no study {name!r} in this database: it was deleted, and the genotypes with it"
            )
        trials = storage.get_all_trials(storage.get_study_id_from_name(name), deepcopy=False)
    return {trial.number: dict(trial.params) for trial in trials}


def recorded_trust(storage: BaseStorage, name: str) -> dict[int, str | None]:
    """Number of every trial of a study -> label of the score around which top1 was predicted when it was proposed.

    Raises:
        NasError: if the database fails.
    """
    with _storage_errors():
        trials = storage.get_all_trials(storage.get_study_id_from_name(name), deepcopy=False)
    return {trial.number: trial.user_attrs.get(TRUSTED) for trial in trials}


def recorded_values(storage: BaseStorage, name: str) -> dict[str, tuple[Value, ...]]:
    """Gene -> the values that it had when the study was created, from its first trial; empty without trials.

    Raises:
        NasError: if the database fails.
    """
    with _storage_errors():
        trials = storage.get_all_trials(storage.get_study_id_from_name(name), deepcopy=False)
    distributions = trials[0].distributions if trials else {}
    return {gene: _values(distribution) for gene, distribution in distributions.items()}


def _values(distribution: BaseDistribution) -> tuple[Value, ...]:
    """Inverse of _distribution."""
    if isinstance(distribution, IntDistribution):
        return tuple(range(distribution.low, distribution.high + 1, distribution.step))
    assert isinstance(distribution, CategoricalDistribution), "a gene is one of the two"
    return tuple(value for value in distribution.choices if isinstance(value, (str, int)))


def kept_values(storage: BaseStorage, name: str) -> dict[str, Any]:
    """Key -> what `SearchStudy.keep` recorded, and what Optuna keeps; empty without a study.

    Raises:
        NasError: if the database fails.
    """
    with _storage_errors():
        if not has_study(storage, name):
            return {}
        return storage.get_study_system_attrs(storage.get_study_id_from_name(name))


def has_study(storage: BaseStorage, name: str) -> bool:
    """True when Optuna knows a study of this name (whether it is ours, our own tables say)."""
    with _storage_errors():
        return any(study.study_name == name for study in storage.get_all_studies())
