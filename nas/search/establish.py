"""Before the loop: make the study or recognise it, put the search together, and say what it will cost.

What a study is, is fixed at its creation (DESIGN 2.14); everything here happens under the study's lease.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from nas.backoff import NO_WAITING, Backoff
from nas.config import SearchConfig
from nas.data_facts import DataFacts
from nas.errors import InvalidInputError, StudyMismatchError
from nas.pareto.front import FrontKeeper
from nas.pareto.history import history_of
from nas.protocols import Calibration, Evaluator, SearchSpace, Store, TrialStore, mixer_set_names, mixers_of
from nas.records import JSON, Genotype, Latency, StudyRecord, TrialFacts, cost_of, facts_by_number
from nas.samplers.knowledge import Knowledge
from nas.search.given_scores import given_scores, known_scores
from nas.search.loop import Outcome, Search, out_of_patience
from nas.search.proposals import Proposer, excesses
from nas.search.scoring import Scoring, recorded_sample
from nas.search.screening import Screen
from nas.search.study import SearchStudy, Storage, has_study
from nas.search.warm_start import earlier_study
from nas.search.weights import WeightsFolder
from nas.surrogates.scores import ArchitectureScore, ModelledScore
from nas.surrogates.training_free import Sample
from nas.text import duration_text, workers_text
from nas.workspace import study_folder

# What stays as it was when the study was created, causes before what follows from them; the reference point is taken
# from the record.
_FIXED = (
    "space",
    "scale",
    "mixers",
    "preprocessing",
    "objectives",
    "space_hash",
    "recipe",
    "limits",
    "target",
    "seed",
)
_TYPICAL_SAMPLE = 25

Sampling = Callable[[], AbstractContextManager[object]]
"""Entered while the sampler computes, so that nothing is timed meanwhile."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What the caller knows of a study before anything is measured."""

    data: str
    """Short name of the data."""
    data_fingerprint: str
    """Empty where a worker is to tell it."""
    guessing_top1: float
    """The top1 of guessing, which is that of the reference point: 1 / number of classes; 0 where there are none."""
    recipe: JSON
    target: JSON | None
    """Latency target settings; None when no latency is asked for."""
    code_version: str
    config: JSON
    """The configuration as given, password redacted."""
    space_module: str = ""
    """Where a space of the user's own comes from; empty for ours."""
    data_facts: DataFacts | None = None
    """What is known of the data; None where there are none."""
    passed_over: str = ""
    """What lies among the images and is none, for people; empty where nothing does."""


def knowledge_of(
    space: SearchSpace,
    config: SearchConfig,
    reference_point: tuple[float, float] | None = None,
    scores: tuple[ArchitectureScore, ...] = (),
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
        scores=scores,
    )


def check_study(
    store: Store, storage: Storage | None, config: SearchConfig, space: SearchSpace, describe: Callable[[], Identity]
) -> StudyRecord | None:
    """Compare the recorded study of that name with what is wanted now.

    Args:
        storage: Optuna's storage in the same database; None while it has not been opened.
        describe: gives what the study would be; called only where there is one to compare with.

    Returns:
        The recorded study; None when there is none.

    Raises:
        StudyMismatchError: if it differs in something that is fixed; the message names the first difference.
        InvalidInputError: if Optuna has a study of that name that is not ours, or the study of a warm start or the
            file of scores cannot be used.
    """
    recorded = store.study(config.study)
    if storage is not None:
        known_scores(config.study, config.warm_start, config.scores, space, store, storage)
    if recorded is not None:
        identity = describe()
        wanted = _record(config, space, identity, recorded.uid, recorded.reference_point, identity.target)
        _require_equal(recorded, wanted, mixer_set_names(space))
    elif storage is not None and has_study(storage, config.study):
        raise InvalidInputError(
            f"the database has an Optuna study {config.study!r} that is no search of ours; give another --study"
        )
    return recorded


def already_done(
    config: SearchConfig,
    space: SearchSpace,
    recorded: StudyRecord,
    store: Store,
    storage: Storage,
    backoff: Backoff = NO_WAITING,
) -> Outcome | None:
    """Bring a study in order whose budget is reached or whose patience is out, without any worker; None when there is
    something to do.

    Raises:
        NasError: if the database fails.
    """
    facts = list(store.facts(config.study))
    evaluated = sum(trial.is_counted for trial in facts)
    stalled = history_of(facts, config.cost_objective, recorded.reference_point).stalled
    outcome = out_of_patience(config.patience, stalled)
    if evaluated >= config.budget:
        outcome = Outcome(
            f"budget reached already: {evaluated} architectures are evaluated, --budget is {config.budget}",
            complete=True,
        )
    if outcome is None:
        return None
    _open_study(config, storage, knowledge_of(space, config), backoff).reconcile(facts_by_number(facts))
    return outcome


def establish(
    *,
    config: SearchConfig,
    space: SearchSpace,
    identity: Identity,
    recorded: StudyRecord | None,
    uid: str,
    evaluator: Evaluator,
    store: Store,
    storage: Storage,
    sampling: Sampling,
    backoff: Backoff = NO_WAITING,
) -> Search:
    """Create the study or continue it; the search is ready to run.

    Args:
        config: the validated options.
        space: what is searched.
        identity: what the study is, beside what the options say; what it lacks of the data, the calibration tells.
        recorded: what check_study returned.
        uid: of the study; a new one gets it.
        evaluator: started, idle.
        store: open; the coordinator holds the study's lease.
        storage: Optuna's, in the same database.
        sampling: entered while the sampler computes.
        backoff: how long an outage of database or disk is waited for.

    Raises:
        EvaluatorError: if the calibration fails.
        NasError: if the database fails.
    """
    record = recorded
    facts = list(store.facts(config.study)) if recorded is not None else []
    evaluation_s = _mean_duration(facts)
    if record is None or evaluation_s is None:
        calibration = evaluator.calibrate(space.slowest().to_spec(), _typical_spec(space))
        evaluation_s = calibration.evaluation_s
        if record is None:
            identity = _with_data(identity, calibration)
            record = _new_record(config, space, identity, uid, calibration.reference_latency)
            store.create_study(record)
    earlier = backoff.until_done(lambda: earlier_study(config.warm_start, space, store, storage))
    scores = backoff.until_done(
        lambda: known_scores(config.study, config.warm_start, config.scores, space, store, storage)
    )
    names = given_scores(config.scores).names
    sample = backoff.until_done(lambda: recorded_sample(names, config.study, space, storage))
    search = assemble(
        config=config,
        space=space,
        knowledge=knowledge_of(space, config, record.reference_point, (*scores, *sample.scores)),
        reference_point=record.reference_point,
        target=record.target,
        facts=facts,
        evaluator=evaluator,
        store=store,
        storage=storage,
        sampling=sampling,
        weights=WeightsFolder(Path(config.artifacts), study_folder(record.name, record.uid)),
        sample=sample,
        starters=list(space.presets().values()) if config.warm_start == "presets" else list(earlier.front),
        screened=config.max_latency_ms is not None,
        backoff=backoff,
    )
    plan = _plan(config, space, evaluator.num_workers, record, search, evaluation_s, identity)
    search.plan = (*plan, *map(_known_text, scores))
    return search


def assemble(
    *,
    config: SearchConfig,
    space: SearchSpace,
    knowledge: Knowledge,
    reference_point: tuple[float, float],
    target: JSON | None,
    facts: Sequence[TrialFacts],
    evaluator: Evaluator,
    store: TrialStore,
    storage: Storage,
    sampling: Sampling,
    weights: WeightsFolder,
    sample: Sample | None = None,
    starters: Sequence[Genotype] = (),
    screened: bool = False,
    backoff: Backoff = NO_WAITING,
) -> Search:
    """The only place where the parts of the loop meet; the recorded trials of the study are brought in order.

    Args:
        config: the validated options.
        space: what is searched.
        knowledge: what the sampler may know.
        reference_point: (top1, cost) of the study's hypervolume.
        target: fingerprint that every latency of the study must have; None when it asks for none.
        facts: every recorded trial of the study, in the order in which they ended.
        evaluator: started, idle.
        store: where new facts go, and the latest front stands.
        storage: Optuna's.
        sampling: entered while the sampler computes.
        sample: of the training-free scores, as recorded; None without any.
        starters: valid genotypes to propose before the sampler's own.
        screened: pass over candidates that are predicted to be over the latency limit.
        backoff: how long an outage of database or disk is waited for.

    Raises:
        NasError: if the database fails.
    """
    known = {trial.arch_hash: trial for trial in facts}
    study = _open_study(config, storage, knowledge, backoff)
    waiting = study.reconcile(facts_by_number(facts))
    new_starters = [genotype for genotype in starters if space.architecture(genotype).arch_hash not in known]
    screen = None
    if screened:
        assert config.max_latency_ms is not None, "only a limit screens"
        screen = Screen(space, config.max_latency_ms, known, study.genotypes)
    proposer = Proposer(space, study, config.limits, known, config.seed, sampling, waiting, new_starters, screen)
    scoring = Scoring(sample or Sample(), space, config.limits, config.seed, study)
    stalled = history_of(facts, config.cost_objective, reference_point).stalled
    keeper = FrontKeeper(config.cost_objective, reference_point, store.front(config.study), stalled)
    return Search(
        config=config,
        space=space,
        evaluator=evaluator,
        store=store,
        study=study,
        proposer=proposer,
        scoring=scoring,
        keeper=keeper,
        weights=weights,
        target=target,
        backoff=backoff,
    )


def _open_study(config: SearchConfig, storage: Storage, knowledge: Knowledge, backoff: Backoff) -> SearchStudy:
    return SearchStudy(storage, config.study, config.objectives, knowledge, config.sampler, config.seed, backoff)


def _new_record(
    config: SearchConfig, space: SearchSpace, identity: Identity, uid: str, reference_latency: Latency | None
) -> StudyRecord:
    """The reference cost is the limit where there is one, else that of the slowest or largest architecture."""
    cost = config.limits.get(config.cost_objective)
    if cost is None:
        cost = cost_of(config.cost_objective, space.costs(space.largest()), reference_latency)
        assert cost is not None, "a study with the objective latency_ms has a latency target"
    target = None if reference_latency is None else reference_latency.target
    return _record(config, space, identity, uid, (identity.guessing_top1, cost), target)


def _with_data(identity: Identity, calibration: Calibration) -> Identity:
    if identity.data_fingerprint:
        return identity
    return replace(identity, data_fingerprint=calibration.data_fingerprint, data_facts=calibration.data_facts)


def _record(
    config: SearchConfig,
    space: SearchSpace,
    identity: Identity,
    uid: str,
    reference: tuple[float, float],
    target: JSON | None,
) -> StudyRecord:
    return StudyRecord(
        name=config.study,
        uid=uid,
        space=space.name,
        space_module=identity.space_module,
        scale=space.scale,
        mixers=mixers_of(space),
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
        data_facts=identity.data_facts,
    )


def _require_equal(recorded: StudyRecord, wanted: StudyRecord, set_names: Mapping[str, str]) -> None:
    if recorded.data_fingerprint != wanted.data_fingerprint:
        raise _other_data(recorded, wanted)
    differing = [name for name in _FIXED if _plain(getattr(recorded, name)) != _plain(getattr(wanted, name))]
    if not differing:
        return
    name = differing[0]
    before = getattr(recorded, name)
    now = getattr(wanted, name)
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        key = next(key for key in {**before, **now} if _plain(before.get(key)) != _plain(now.get(key)))
        raise _mismatch(recorded, f"{name}.{key}", before.get(key), now.get(key))
    if name == "mixers" and recorded.mixers and wanted.mixers:
        raise _other_mixers(recorded, wanted, set_names)
    raise _mismatch(recorded, name, before, now)


def _other_data(recorded: StudyRecord, wanted: StudyRecord) -> StudyMismatchError:
    """In words of images and classes; where the data lie and what their folder is called says nothing about them."""
    how = ""
    if recorded.data_facts is not None and wanted.data_facts is not None:
        how = f" ({wanted.data_facts.differences(recorded.data_facts)})"
    return StudyMismatchError(
        f"study {recorded.name!r} exists with other data: {recorded.data}, and now it would be {wanted.data}{how}; "
        "continue it with its own data, or give another --study"
    )


def _other_mixers(recorded: StudyRecord, wanted: StudyRecord, set_names: Mapping[str, str]) -> StudyMismatchError:
    """By the names of sets, whose mixers are too many to read; where one has no name, by what differs."""
    before = set_names.get(recorded.mixers)
    now = set_names.get(wanted.mixers)
    if before and now:
        return _mismatch(recorded, "mixers", before, now)
    known = recorded.mixers.split(",")
    given = wanted.mixers.split(",")
    changes = {
        "added": [name for name in given if name not in known],
        "missing": [name for name in known if name not in given],
    }
    told = "; ".join([f"{change}: {', '.join(names)}" for change, names in changes.items() if names])
    return _mismatch(recorded, "mixers", before or "a choice of its own", f"{now or 'another'} ({told})")


def _mismatch(recorded: StudyRecord, name: str, before: object, now: object) -> StudyMismatchError:
    return StudyMismatchError(
        f"study {recorded.name!r} exists with {name} = {_shown(before)}, and now it would be {_shown(now)}; "
        "continue it with its own settings, or give another --study"
    )


def _plain(value: object) -> object:
    return json.loads(json.dumps(value, default=dict))


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _images(identity: Identity) -> list[str]:
    """Lines of the plan about the images that the search found."""
    facts = identity.data_facts
    if facts is None:
        return []
    counts = f"{facts.num_train:,} for training, {facts.num_validation:,} for validation, {facts.num_test:,} for test"
    return [f"images: {counts}", *([f"passed over {identity.passed_over}"] if identity.passed_over else [])]


def _typical_spec(space: SearchSpace) -> JSON:
    rng = np.random.default_rng(0)
    architectures = [space.architecture(space.sample(rng)) for _ in range(_TYPICAL_SAMPLE)]
    return sorted(architectures, key=lambda architecture: space.costs(architecture).macs)[
        _TYPICAL_SAMPLE // 2
    ].to_spec()


def _mean_duration(facts: Iterable[TrialFacts]) -> float | None:
    durations = [trial.duration_s for trial in facts if trial.state == "COMPLETE"]
    return sum(durations) / len(durations) if durations else None


def _known_text(score: ModelledScore) -> str:
    return f"score {score.label} is known of {len(score.known)} architectures; a model of them answers for all others"


def _plan(
    config: SearchConfig,
    space: SearchSpace,
    workers: int,
    record: StudyRecord,
    search: Search,
    evaluation_s: float,
    identity: Identity,
) -> tuple[str, ...]:
    todo = max(config.budget - search.evaluated, 0)
    top1, cost = record.reference_point
    lines = [
        f"space {space.name} at scale {space.scale}: {len(space.genes)} genes, {space.num_genotypes:.3g} genotypes",
        f"data {record.data}; objectives {', '.join(record.objectives)}; reference point top1 {top1:.4g}, "
        f"{config.cost_objective} {cost:.4g}",
        f"budget {config.budget}: {search.evaluated} evaluated so far, {todo} to go on {workers_text(workers)}",
    ]
    lines[2:2] = _images(identity)
    if evaluation_s:
        rest = duration_text(todo * evaluation_s / workers)
        lines.append(f"one evaluation takes about {evaluation_s:.1f} s, so the rest takes about {rest}")
    if search.num_to_score:
        names = ", ".join(given_scores(config.scores).names)
        lines.append(f"{search.num_to_score} networks are scored without training ({names}) beside the first trainings")
    if search.num_waiting:
        lines.append(f"{search.num_waiting} trials that an earlier run began are taken up first")
    return tuple(lines)
