"""Before the loop: make the study or recognise it, and say what the search will cost.

What a study is, is fixed at its creation (DESIGN 2.14); everything here happens under the study's lease.
"""

import json
import math
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from nas.config import SearchConfig
from nas.errors import InvalidInputError, StudyMismatchError
from nas.pareto.front import FrontKeeper
from nas.pareto.history import history_of
from nas.protocols import Evaluator, SearchSpace, Store
from nas.records import JSON, Genotype, StudyRecord, TrialFacts, cost_of
from nas.samplers.registry import Knowledge
from nas.search.loop import Outcome, out_of_patience
from nas.search.proposals import Proposer, excesses
from nas.search.screening import Screen
from nas.search.study import SearchStudy, Storage, has_study
from nas.search.warm_start import earlier_study
from nas.search.weights import WeightsFolder
from nas.workspace import study_folder

# What stays as it was when the study was created, causes before what follows from them; the reference point is taken
# from the record.
_FIXED = (
    "space",
    "scale",
    "data",
    "objectives",
    "space_hash",
    "data_fingerprint",
    "recipe",
    "limits",
    "target",
    "seed",
)
_TYPICAL_SAMPLE = 25


@dataclass(frozen=True, slots=True)
class Identity:
    """What the caller knows of a study before anything is measured."""

    data: str
    """Short name of the data."""
    data_fingerprint: str
    num_classes: int
    recipe: JSON
    target: JSON | None
    """Latency target settings; None when no latency is asked for."""
    code_version: str
    config: JSON
    """The configuration as given, password redacted."""


@dataclass(frozen=True, slots=True)
class Established:
    """An established study: its record and the parts that the loop works with."""

    record: StudyRecord
    study: SearchStudy
    proposer: Proposer
    keeper: FrontKeeper
    weights: WeightsFolder
    evaluated: int
    """Architectures that count towards the budget so far."""
    plan: tuple[str, ...]
    """What the search will do and cost, for people."""


def knowledge_of(
    space: SearchSpace,
    config: SearchConfig,
    reference_point: tuple[float, float] | None = None,
    earlier: tuple[tuple[Genotype, float], ...] = (),
) -> Knowledge:
    """What the sampler may know: canonical forms, and costs and limits that need no measurement."""
    objective = config.cost_objective
    limits = config.limits

    def feasible(genotype: Genotype) -> bool:
        return all(excess <= 0 for excess in excesses(space.genotype_costs(genotype), limits).values())

    return Knowledge(
        genes=space.genes,
        repair=space.repair,
        identity=lambda genotype: space.architecture(genotype).arch_hash,
        cost=None
        if objective == "latency_ms"
        else lambda genotype: float(getattr(space.genotype_costs(genotype), objective)),
        feasible=feasible if {"param_count", "macs"} & set(limits) else lambda genotype: True,
        max_cost=limits.get(objective, math.inf),
        reference_point=reference_point,
        earlier=earlier,
    )


def check_study(
    store: Store, storage: Storage | None, config: SearchConfig, space: SearchSpace, identity: Identity
) -> StudyRecord | None:
    """Compare the recorded study of that name with what is wanted now.

    Args:
        storage: Optuna's storage in the same database; None while it has not been opened.

    Returns:
        The recorded study; None when there is none.

    Raises:
        StudyMismatchError: if it differs in something that is fixed; the message names the first difference.
        InvalidInputError: if Optuna has a study of that name that is not ours, or the study of a warm start cannot be
            used.
    """
    recorded = store.study(config.study)
    if storage is not None:
        earlier_study(config, space, store, storage)
    if recorded is not None:
        _require_equal(recorded, _record(config, space, identity, recorded.reference_point, identity.target))
    elif storage is not None and has_study(storage, config.study):
        raise InvalidInputError(
            f"the database has an Optuna study {config.study!r} that is no search of ours; give another --study"
        )
    return recorded


def already_done(
    config: SearchConfig, space: SearchSpace, recorded: StudyRecord, store: Store, storage: Storage
) -> Outcome | None:
    """Bring a study in order whose budget is reached or whose patience is out, without any worker; None when there is
    something to do.

    Raises:
        NasError: if the database fails.
    """
    facts = {trial.trial_number: trial for trial in store.facts(config.study)}
    evaluated = _count_evaluated(facts)
    outcome = out_of_patience(
        config.patience, history_of(facts.values(), config.cost_objective, recorded.reference_point).stalled
    )
    if evaluated >= config.budget:
        outcome = Outcome(
            f"budget reached already: {evaluated} architectures are evaluated, --budget is {config.budget}",
            complete=True,
        )
    if outcome is None:
        return None
    SearchStudy(
        storage, config.study, config.objectives, knowledge_of(space, config), config.sampler, config.seed
    ).reconcile(facts)
    return outcome


def establish(
    *,
    config: SearchConfig,
    space: SearchSpace,
    identity: Identity,
    recorded: StudyRecord | None,
    evaluator: Evaluator,
    store: Store,
    storage: Storage,
    sampling: Callable[[], AbstractContextManager[object]],
) -> Established:
    """Create the study or continue it.

    Args:
        recorded: what check_study returned.
        sampling: entered while the sampler computes.

    Raises:
        EvaluatorError: if the calibration fails.
        NasError: if the database fails.
    """
    facts = {trial.trial_number: trial for trial in store.facts(config.study)} if recorded is not None else {}
    if recorded is None:
        calibration = evaluator.calibrate(space.slowest().to_spec(), _typical_spec(space))
        latency = calibration.reference_latency
        cost = config.limits.get(config.cost_objective)
        if cost is None:
            cost = cost_of(config.cost_objective, space.costs(space.largest()), latency)
            assert cost is not None, "a study with the objective latency_ms has a latency target"
        record = _record(
            config, space, identity, (1 / identity.num_classes, cost), None if latency is None else latency.target
        )
        store.create_study(record)
        evaluation_s = calibration.evaluation_s
    else:
        record = recorded
        evaluation_s = (
            _mean_duration(facts) or evaluator.calibrate(space.slowest().to_spec(), _typical_spec(space)).evaluation_s
        )
    earlier = earlier_study(config, space, store, storage)
    knowledge = knowledge_of(space, config, record.reference_point, earlier.scores)
    study = SearchStudy(storage, config.study, config.objectives, knowledge, config.sampler, config.seed)
    waiting = study.reconcile(facts)
    known = {trial.arch_hash: trial for trial in facts.values()}
    first = space.presets().values() if config.warm_start == "presets" else earlier.front
    starters = [genotype for genotype in first if space.architecture(genotype).arch_hash not in known]
    screen = None if config.max_latency_ms is None else Screen(space, config.max_latency_ms, known, study.genotypes)
    proposer = Proposer(space, study, config.limits, known, config.seed, sampling, waiting, starters, screen)
    stalled = history_of(facts.values(), config.cost_objective, record.reference_point).stalled
    keeper = FrontKeeper(config.cost_objective, record.reference_point, store.front(config.study), stalled)
    evaluated = _count_evaluated(facts)
    plan = _plan(config, space, evaluator, record, evaluated, len(waiting), evaluation_s)
    weights = WeightsFolder(Path(config.artifacts), study_folder(record))
    return Established(record, study, proposer, keeper, weights, evaluated, plan)


def _record(
    config: SearchConfig, space: SearchSpace, identity: Identity, reference: tuple[float, float], target: JSON | None
) -> StudyRecord:
    return StudyRecord(
        name=config.study,
        uid=uuid.uuid4().hex,
        space=space.name,
        space_module="",
        scale=space.scale,
        space_hash=space.space_hash,
        objectives=config.objectives,
        reference_point=reference,
        data=identity.data,
        data_location=config.data,
        data_fingerprint=identity.data_fingerprint,
        recipe=identity.recipe,
        target=target,
        limits=config.limits,
        seed=config.seed,
        device="cuda" if config.gpus_per_worker else "cpu",
        artifacts=config.artifacts,
        config=identity.config,
        code_version=identity.code_version,
        created=datetime.now(UTC),
    )


def _require_equal(recorded: StudyRecord, wanted: StudyRecord) -> None:
    differing = [name for name in _FIXED if _plain(getattr(recorded, name)) != _plain(getattr(wanted, name))]
    if not differing:
        return
    name = differing[0]
    before = getattr(recorded, name)
    now = getattr(wanted, name)
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        key = next(key for key in {**before, **now} if _plain(before.get(key)) != _plain(now.get(key)))
        raise _mismatch(recorded, f"{name}.{key}", before.get(key), now.get(key))
    raise _mismatch(recorded, name, before, now)


def _mismatch(recorded: StudyRecord, name: str, before: object, now: object) -> StudyMismatchError:
    return StudyMismatchError(
        f"study {recorded.name!r} exists with {name} = {_shown(before)}, and now it would be {_shown(now)}; "
        "continue it with its own settings, or give another --study"
    )


def _plain(value: object) -> object:
    return json.loads(json.dumps(value, default=dict))


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _typical_spec(space: SearchSpace) -> JSON:
    rng = np.random.default_rng(0)
    architectures = [space.architecture(space.sample(rng)) for _ in range(_TYPICAL_SAMPLE)]
    return sorted(architectures, key=lambda architecture: space.costs(architecture).macs)[
        _TYPICAL_SAMPLE // 2
    ].to_spec()


def _count_evaluated(facts: Mapping[int, TrialFacts]) -> int:
    return sum(trial.is_counted for trial in facts.values())


def _mean_duration(facts: Mapping[int, TrialFacts]) -> float | None:
    durations = [trial.duration_s for trial in facts.values() if trial.state == "COMPLETE"]
    return sum(durations) / len(durations) if durations else None


def _plan(
    config: SearchConfig,
    space: SearchSpace,
    evaluator: Evaluator,
    record: StudyRecord,
    evaluated: int,
    num_waiting: int,
    evaluation_s: float,
) -> tuple[str, ...]:
    todo = max(config.budget - evaluated, 0)
    estimate_min = todo * evaluation_s / evaluator.num_workers / 60
    (top1, cost) = record.reference_point
    cost_objective = record.objectives[1]
    lines = (
        f"space {space.name} at scale {space.scale}: {len(space.genes)} genes, {space.num_genotypes:.3g} genotypes",
        (
            f"data {record.data}; objectives {', '.join(record.objectives)}; reference point top1 {top1:.4g}, "
            f"{cost_objective} {cost:.4g}"
        ),
        f"budget {config.budget}: {evaluated} evaluated so far, {todo} to go on {evaluator.num_workers} workers",
        f"one evaluation takes about {evaluation_s:.1f} s, so the rest takes about {estimate_min:.1f} min",
    )
    return (*lines, f"{num_waiting} trials that an earlier run began are taken up first") if num_waiting else lines
