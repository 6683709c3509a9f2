"""The loop, on a real SQLite database, without workers or networks."""

import contextlib
import io
import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import ClassVar

import numpy as np
import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from rich.console import Console

from db.engine import engine_kwargs
from db.store import SqlStore, open_store
from db.tables import fronts
from nas.config import SearchConfig
from nas.data_facts import DataFacts
from nas.errors import InvalidInputError, NasError, SearchAbortedError, StudyLockedError, StudyMismatchError
from nas.pareto.front import front_of
from nas.pareto.history import History, history_of
from nas.protocols import Event, Failed, Job, LatencyMeasured, Started
from nas.records import Latency
from nas.search.establish import Identity, already_done, check_study, establish
from nas.search.events import FrontGrew, Note, OnEvent, SearchEvent, TrialFinished, ignore
from nas.search.loop import Outcome, Search
from nas.search.progress import Progress
from nas.search.study import SearchStudy, open_optuna_storage
from nas.search.warm_start import MAX_STARTERS
from nas.search.weights import read_weights
from nas.workspace import study_folder
from tests.doubles import TARGET, ScriptedEvaluator, TinyArchitecture, TinySpace, latency_of, tiny_top1

FACTS = DataFacts(
    mean=(0.5,),
    std=(0.25,),
    interpolation="bilinear",
    crop_pct=1.0,
    crop_mode="center",
    label_names=("cat", "dog"),
    num_train=1,
    num_validation=1,
    num_test=0,
)
OTHER_FACTS = replace(FACTS, label_names=("dog", "owl"), num_train=2)
IDENTITY = Identity(
    data="toy",
    data_fingerprint="f",
    guessing_top1=0.1,
    recipe={"name": "toy"},
    target=TARGET,
    code_version="test",
    config={"budget": 1},
    data_facts=FACTS,
)


FAILURE = Failed(2, "worker 0", "cannot be built", retryable=False)


class Killed(BaseException):
    """Stands for kill -9: nothing of the loop may catch it, and nothing may be written after it."""


@dataclass
class Bench:
    """Runs of one search on one database."""

    folder: Path
    database: str = "nas.db"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder}/{self.database}"

    def config(self, budget: int, study: str = "s", **options: object) -> SearchConfig:
        return SearchConfig(
            space="tiny",
            budget=budget,
            study=study,
            storage=self.url,
            artifacts=str(self.folder / "artifacts"),
            **options,
        )

    def run(
        self,
        budget: int,
        evaluator: ScriptedEvaluator | None = None,
        space: TinySpace | None = None,
        identity: Identity = IDENTITY,
        stop: Callable[[], bool] = lambda: False,
        check_owner: Callable[[], None] = lambda: None,
        on_event: OnEvent = ignore,
        **options: object,
    ) -> Outcome:
        config = self.config(budget, **options)
        evaluator = evaluator or ScriptedEvaluator(with_latency=config.needs_latency)
        space = space or TinySpace()
        identity = replace(identity, target=identity.target if config.needs_latency else None, config=config.to_json())
        with contextlib.closing(open_store(self.url)) as store:
            storage = open_optuna_storage(self.url, engine_kwargs(self.url))
            recorded = check_study(store, storage, config, space, lambda: identity)
            search = establish(
                config=config,
                space=space,
                identity=identity,
                recorded=recorded,
                uid=uuid.uuid4().hex,
                evaluator=evaluator,
                store=store,
                storage=storage,
                sampling=contextlib.nullcontext,
            )
            progress = Progress("s", budget, search.evaluated, quiet=True, console=Console(file=io.StringIO()))
            try:
                return search.run(progress, check_owner, stop, on_event)
            finally:
                storage.engine.dispose()

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        return optuna.load_study(study_name="s", storage=self.url).trials

    def states(self) -> list[TrialState]:
        return [trial.state for trial in self.trials()]

    def already_done(self, budget: int, **options: object) -> Outcome | None:
        with contextlib.closing(open_store(self.url)) as store:
            storage = open_optuna_storage(self.url, engine_kwargs(self.url))
            recorded = store.study("s")
            assert recorded is not None
            try:
                return already_done(self.config(budget, **options), TinySpace(), recorded, store, storage)
            finally:
                storage.engine.dispose()

    def history(self) -> History:
        with contextlib.closing(open_store(self.url)) as store:
            recorded = store.study("s")
            assert recorded is not None
            return history_of(store.facts("s"), recorded.objectives[1], recorded.reference_point)

    def facts(self) -> list:
        with contextlib.closing(open_store(self.url)) as store:
            return list(store.facts("s"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def architectures(space: TinySpace) -> list[TinyArchitecture]:
    """Of every genotype."""
    return [
        space.architecture(dict(zip(("depth", "width", "kernel"), levels, strict=True)))
        for levels in product(range(1, 5), repeat=3)
    ]


def recorded_volumes(store: SqlStore) -> list[float]:
    """Hypervolume of every snapshot, by version."""
    with store._reader.begin() as connection:
        return list(connection.scalars(sa.select(fronts.c.hypervolume).order_by(fronts.c.version)))


def hashes(bench: Bench) -> list[str]:
    return [facts.arch_hash for facts in bench.facts()]


def test_budget_counts_distinct_architectures(bench: Bench) -> None:
    evaluator = ScriptedEvaluator()
    outcome = bench.run(30, evaluator)
    assert outcome.complete
    assert len(evaluator.submitted) == 30
    assert len(set(hashes(bench))) == 30
    assert bench.states() == [TrialState.COMPLETE] * 30


def test_recorded_front_equals_the_facts(bench: Bench) -> None:
    bench.run(30)
    with contextlib.closing(open_store(bench.url)) as store:
        front = store.front("s")
        assert front is not None
        assert front.members == front_of(store.facts("s"), "latency_ms", front.reference_point)
        assert front.version == len(recorded_volumes(store))
    trials = {trial.number: trial for trial in bench.trials()}
    for member in front.members:
        assert trials[member.trial_number].values == [member.top1, member.cost]


def test_weights_are_kept_for_front_members_only(bench: Bench) -> None:
    bench.run(30)
    with contextlib.closing(open_store(bench.url)) as store:
        members = {member.trial_number for member in store.front("s").members}
        kept = {facts.trial_number: facts.weights for facts in store.facts("s") if facts.weights}
        study = store.study("s")
    assert set(kept) == members
    files = {path.relative_to(bench.folder / "artifacts") for path in bench.folder.glob("artifacts/weights/**/*.*")}
    assert files == {Path(weights.path) for weights in kept.values()}
    assert {path.parent for path in files} == {Path("weights") / study_folder(study.name, study.uid)}
    for number, weights in kept.items():
        assert read_weights(bench.folder / "artifacts", weights) == b"weights of %d" % number


def test_databases_of_one_folder_keep_their_weights_apart(tmp_path: Path) -> None:
    """Both have a study s and one seed, so the same trials of the same architectures; their weights are others."""

    class Other(ScriptedEvaluator):
        def _script(self, job: Job) -> list[Event]:
            *events, finished = super()._script(job)
            return [*events, replace(finished, weights=b"others of %d" % job.trial_number)]

    first, second = (Bench(tmp_path, database) for database in ("a.db", "b.db"))
    first.run(10)
    before = {facts.trial_number: facts.weights for facts in first.facts() if facts.weights}
    second.run(30, Other())
    artifacts = tmp_path / "artifacts"
    for bench, beginning in ((first, b"weights of"), (second, b"others of")):
        kept = {facts.trial_number: facts.weights for facts in bench.facts() if facts.weights}
        for number, weights in kept.items():
            assert read_weights(artifacts, weights) == beginning + b" %d" % number
    assert {facts.trial_number: facts.weights for facts in first.facts() if facts.weights} == before
    assert len(list((artifacts / "weights").iterdir())) == 2


@pytest.mark.parametrize("sampler", ["random", "nsga2", "tpe", "tpe_multivariate", "ehvi"])
def test_same_seed_gives_the_identical_study(tmp_path: Path, sampler: str) -> None:
    studies = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        bench = Bench(tmp_path / name)
        bench.run(25, objectives=("top1", "macs"), sampler=sampler, seed=3)
        studies.append([(t.number, t.params, t.values, t.state) for t in bench.trials()])
    assert studies[0] == studies[1]


def test_small_space_is_exhausted(bench: Bench) -> None:
    space = TinySpace(levels=3)
    outcome = bench.run(200, space=space)
    assert outcome.complete
    assert f"space exhausted: {space.num_architectures} of {space.num_architectures}" in outcome.reason
    assert len(bench.facts()) == space.num_architectures


def test_larger_budget_extends_and_a_reached_one_does_nothing(bench: Bench) -> None:
    bench.run(10)
    again = ScriptedEvaluator()
    assert bench.run(10, again).complete
    assert again.submitted == []
    bench.run(15)
    assert bench.states() == [TrialState.COMPLETE] * 15


@pytest.mark.parametrize("num_workers", [1, 3])
def test_stop_leaves_no_running_trial_and_resume_keeps_numbers(bench: Bench, num_workers: int) -> None:
    evaluator = ScriptedEvaluator(num_workers=num_workers)
    outcome = bench.run(20, evaluator, stop=lambda: len(evaluator.submitted) > 8)
    assert outcome.exit_code == 130
    states = bench.states()
    assert TrialState.RUNNING not in states
    assert states.count(TrialState.WAITING) == num_workers
    bench.run(20, ScriptedEvaluator(num_workers=num_workers))
    assert bench.states() == [TrialState.COMPLETE] * 20
    assert len(set(hashes(bench))) == 20


@pytest.mark.parametrize("moment", ["submit", "record", "annotate", "tell"])
def test_kill_at_any_moment_repeats_at_most_what_was_in_flight(
    bench: Bench, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill before and after each write; only the evaluations in flight may run twice."""
    jobs: list[Job] = []

    def kill_at(number: int) -> None:
        with monkeypatch.context() as patch:
            _kill_at(patch, moment, number)
            with pytest.raises(Killed):
                bench.run(20, ScriptedEvaluator(num_workers=2, on_submit=jobs.append))

    kill_at(6)
    kill_at(14)
    bench.run(20, ScriptedEvaluator(num_workers=2, on_submit=jobs.append))
    assert bench.states() == [TrialState.COMPLETE] * 20
    assert len(set(hashes(bench))) == 20
    assert len(jobs) <= 20 + 2 * 2


def test_after_a_kill_nothing_is_left_running_even_when_nothing_is_evaluated(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _kill_at(patch, "record", 4)
        with pytest.raises(Killed):
            bench.run(20, ScriptedEvaluator(num_workers=2))
    assert TrialState.RUNNING in bench.states()
    bench.run(20, max_hours=1e-9)
    assert set(bench.states()) == {TrialState.COMPLETE, TrialState.WAITING}


def _kill_at(patch: pytest.MonkeyPatch, moment: str, number: int) -> None:

    def kill(*args: object) -> None:
        raise Killed

    targets = {
        "record": (SqlStore, "record", 1),
        "annotate": (SearchStudy, "annotate", 0),
        "tell": (SearchStudy, "tell", 0),
    }
    patch.setattr(SearchStudy, "release", kill)
    if moment == "submit":
        original_submit = ScriptedEvaluator.submit
        patch.setattr(
            ScriptedEvaluator,
            "submit",
            lambda self, job: kill() if job.trial_number == number else original_submit(self, job),
        )
        return
    owner, name, position = targets[moment]
    original = getattr(owner, name)

    def wrapped(self: object, *args: object) -> object:
        subject = args[position]
        if (subject if isinstance(subject, int) else subject.trial_number) == number:  # type: ignore[attr-defined]
            kill()
        return original(self, *args)

    patch.setattr(owner, name, wrapped)


def test_retryable_failure_is_tried_twice_more(bench: Bench) -> None:
    def flaky(job: Job) -> Failed | None:
        return (
            Failed(job.trial_number, "worker 0", "actor died", retryable=True)
            if job.trial_number == 3 and job.attempt < 2
            else None
        )

    evaluator = ScriptedEvaluator(failure=flaky)
    bench.run(10, evaluator)
    assert [job.attempt for job in evaluator.submitted if job.trial_number == 3] == [0, 1, 2]
    assert bench.states() == [TrialState.COMPLETE] * 10


def test_a_retry_measures_the_latency_that_counts(bench: Bench) -> None:
    class DiesAfterTiming(ScriptedEvaluator):
        def _script(self, job: Job) -> list[Event]:
            if job.trial_number != 3 or job.attempt > 0:
                return super()._script(job)
            slow = replace(latency_of(job.spec), median_ms=9.0)
            return [LatencyMeasured(3, "worker 0", slow), Failed(3, "worker 0", "actor died", retryable=True)]

    bench.run(10, DiesAfterTiming(), max_latency_ms=10.0)
    trial = bench.trials()[3]
    facts = next(facts for facts in bench.facts() if facts.trial_number == 3)
    assert facts.latency == latency_of(facts.spec)
    assert trial.constraints["latency_ms"] == pytest.approx(facts.latency.median_ms / 10 - 1)


def test_waiting_for_a_worker_to_come_up_is_no_device_time(bench: Bench) -> None:
    """After a restart the first workers take seconds, and so does the one that replaces a lost one."""

    class StartsLate(ScriptedEvaluator):
        def submit(self, job: Job) -> None:
            super().submit(job)
            if job.trial_number == 0 or job.attempt == 1:
                time.sleep(1.0)
                self._ready.appendleft(Started(job.trial_number, "worker 0"))

    def dies_once(job: Job) -> Failed | None:
        if (job.trial_number, job.attempt) != (4, 0):
            return None
        time.sleep(0.3)
        return Failed(4, "worker 0", "actor died", retryable=True)

    bench.run(6, StartsLate(failure=dies_once))
    assert {facts.trial_number for facts in bench.facts()} == set(range(6))
    assert all(facts.duration_s < 0.9 for facts in bench.facts())
    assert next(facts for facts in bench.facts() if facts.trial_number == 4).duration_s > 0.3, (
        "what the lost attempt took counts"
    )


def test_failed_architectures_carry_a_reason_are_not_counted_and_not_tried_again(bench: Bench) -> None:
    def fails(job: Job) -> Failed | None:
        return (
            Failed(job.trial_number, "worker 0", "loss is nan at step 7", retryable=False)
            if job.spec["depth"] == 2
            else None
        )

    evaluator = ScriptedEvaluator(failure=fails)
    bench.run(30, evaluator, space=TinySpace(levels=6))
    failed = [facts for facts in bench.facts() if facts.state == "FAIL"]
    assert failed
    assert {facts.reason for facts in failed} == {"loss is nan at step 7"}
    assert len(set(hashes(bench))) == len(evaluator.submitted) == 30 + len(failed)
    assert bench.states().count(TrialState.COMPLETE) == 30


def test_search_stops_when_the_first_five_fail(bench: Bench) -> None:
    evaluator = ScriptedEvaluator(
        failure=lambda job: Failed(job.trial_number, "worker 0", "no space left on device", retryable=False)
    )
    with pytest.raises(SearchAbortedError, match="5 of the last 5 evaluations failed; the last one: no space left"):
        bench.run(20, evaluator)
    assert TrialState.RUNNING not in bench.states()


def test_search_stops_when_most_recent_ones_fail(bench: Bench) -> None:
    evaluator = ScriptedEvaluator(
        failure=lambda job: (
            Failed(job.trial_number, "worker 0", "flaky", retryable=False)
            if job.trial_number % 5 in (1, 2, 4)
            else None
        )
    )
    with pytest.raises(SearchAbortedError, match="of the last 20"):
        bench.run(60, evaluator, space=TinySpace(levels=6))


def test_known_limits_reject_before_training(bench: Bench) -> None:
    evaluator = ScriptedEvaluator()
    bench.run(
        12, evaluator, max_params=6, sampler="random"
    )  # ehvi would not even propose what is known to be over a limit
    assert all(job.spec["depth"] * job.spec["width"] <= 6 for job in evaluator.submitted)
    rejected = [trial for trial in bench.trials() if trial.state == TrialState.PRUNED]
    assert rejected
    assert all(
        trial.constraints["param_count"] > 0 and "over the limit" in trial.user_attrs["reason"] for trial in rejected
    )
    assert bench.states().count(TrialState.COMPLETE) == 12
    feasible = [trial for trial in bench.trials() if trial.state == TrialState.COMPLETE]
    assert all(trial.constraints["param_count"] <= 0 for trial in feasible)


def test_latency_limit_rejects_after_timing_and_becomes_the_reference(bench: Bench) -> None:
    evaluator = ScriptedEvaluator()
    bench.run(12, evaluator, max_latency_ms=1.0)
    stopped = [number for number, proceed in evaluator.answers if not proceed]
    facts = {trial.trial_number: trial for trial in bench.facts()}
    assert stopped
    assert all(facts[number].state == "REJECTED" and not facts[number].rungs for number in stopped)
    assert all(trial.latency.median_ms <= 1.0 for trial in facts.values() if trial.state == "COMPLETE")
    with contextlib.closing(open_store(bench.url)) as store:
        assert store.study("s").reference_point == (0.1, 1.0)


def over_the_limit(evaluator: ScriptedEvaluator) -> int:
    """How many candidates were timed and stopped, of those submitted after the first 60."""
    late = {job.trial_number for job in evaluator.submitted[60:]}
    return sum(not proceed for number, proceed in evaluator.answers if number in late)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_what_is_surely_too_slow_is_passed_over_untimed(
    bench: Bench, sampler: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Latencies of the toy space add up, so predictions become exact; about half of the space is over the limit."""
    evaluator = ScriptedEvaluator()
    with caplog.at_level("INFO", logger="nas"):
        outcome = bench.run(60, evaluator, space=TinySpace(levels=9), sampler=sampler, max_latency_ms=2.0)
    assert outcome.complete and re.search(r"60 of 60 .*; \d+ candidates were passed over untimed", outcome.reason), (
        outcome
    )
    [said] = [record.message for record in caplog.records if "latency is predicted" in record.message]
    assert re.fullmatch(r"latency is predicted \(held out, 4\d timings: .* above 2\.\d+ ms are passed over", said), said
    assert over_the_limit(evaluator) <= 3
    facts = bench.facts()
    assert len(facts) == len(evaluator.submitted), "what is passed over leaves no trial"
    assert all(trial.latency == latency_of(trial.spec) for trial in facts), "every recorded latency was measured"
    assert bench.states().count(TrialState.COMPLETE) == 60


def test_nothing_is_passed_over_while_predictions_are_poor(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def erratic(spec: dict[str, int]) -> Latency:
        ms = float(np.random.default_rng(list(spec.values())).lognormal(0, 0.7))
        return Latency(TARGET, {}, ms, ms, ms, ms, 30)

    monkeypatch.setattr("tests.doubles.latency_of", erratic)
    evaluator = ScriptedEvaluator()
    with caplog.at_level("INFO", logger="nas"):
        outcome = bench.run(45, evaluator, space=TinySpace(levels=9), sampler="random", max_latency_ms=1.0)
    assert outcome.complete and "passed over" not in outcome.reason + caplog.text
    assert len(evaluator.submitted) > 60


def test_a_small_space_is_still_exhausted_when_most_of_it_is_passed_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.search.screening.MIN_TIMINGS", 12)
    space = TinySpace(levels=4)
    outcome = bench.run(200, space=space, sampler="random", max_latency_ms=1.25)
    assert outcome.complete and "nothing new was found within latency_ms <= 1.25" in outcome.reason
    fits = {trial.arch_hash for trial in bench.facts() if trial.state == "COMPLETE"}
    assert fits == {
        architecture.arch_hash
        for architecture in architectures(space)
        if latency_of(architecture.to_spec()).median_ms <= 1.25
    }


def test_without_a_latency_limit_nothing_is_predicted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.search.screening.LatencyModel", None)
    monkeypatch.setattr("nas.search.screening.latency_quality", None)
    assert bench.run(60, space=TinySpace(levels=9), sampler="random", max_macs=5000).complete


@pytest.mark.parametrize("sampler", ["ehvi", "random"])
def test_when_all_within_the_limits_is_evaluated_the_search_is_done_whatever_the_sampler(
    bench: Bench, sampler: str
) -> None:
    outcome = bench.run(64, max_macs=500, sampler=sampler)
    assert outcome.complete and outcome.exit_code == 0
    assert "nothing new was found within macs <= 500" in outcome.reason
    space = TinySpace()
    within = {facts.arch_hash for facts in bench.facts() if facts.state == "COMPLETE"}
    assert within == {
        architecture.arch_hash for architecture in architectures(space) if space.costs(architecture).macs <= 500
    }


def test_a_space_too_large_to_count_is_not_said_to_be_exhausted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.search.proposals.ENUMERABLE", 10)
    outcome = bench.run(70, sampler="random")
    assert outcome.complete and "nothing new was found in 1000 tries" in outcome.reason


def test_limits_too_tight_end_the_search(bench: Bench) -> None:
    outcome = bench.run(20, max_macs=50)
    assert outcome.exit_code == 1
    assert "limits too tight" in outcome.reason
    assert "macs <= 50" in outcome.reason


def test_latency_limit_that_nothing_meets_ends_the_search(bench: Bench) -> None:
    evaluator = ScriptedEvaluator()
    outcome = bench.run(20, evaluator, space=TinySpace(levels=9), max_latency_ms=0.1)
    assert outcome.exit_code == 1
    assert "limits too tight" in outcome.reason
    assert len(evaluator.submitted) <= 101


def test_every_rung_is_kept_and_the_worse_half_is_stopped(bench: Bench) -> None:
    evaluator = ScriptedEvaluator(num_rungs=3)
    bench.run(20, evaluator)
    curves = {facts.trial_number: [score.rung for score in facts.rungs] for facts in bench.facts()}
    complete = {facts.trial_number for facts in bench.facts() if facts.state == "COMPLETE"}
    stopped = {facts.trial_number for facts in bench.facts() if facts.state == "PRUNED"}
    assert len(complete) + len(stopped) == 20 and complete and stopped
    assert all(curves[number] == [0, 1, 2] for number in complete)
    assert all(curves[number] in ([0], [0, 1]) for number in stopped)
    assert {number for number, proceed in evaluator.answers if not proceed} == stopped
    with contextlib.closing(open_store(bench.url)) as store:
        front = store.front("s")
    assert front is not None and {member.trial_number for member in front.members} <= complete


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"objectives": ("top1", "macs")}, "objectives = top1,latency_ms, and now it would be top1,macs"),
        ({"space": TinySpace(levels=5)}, "space_hash = tiny-4, and now it would be tiny-5"),
        ({"space": TinySpace(scale="tiny", levels=5), "scale": "tiny"}, "scale = nano, and now it would be tiny"),
        ({"seed": 1}, "seed = 0, and now it would be 1"),
        ({"max_params": 9}, "limits.param_count = None, and now it would be 9.0"),
        # A limit that needs timings is told by itself, not by the target that comes with it.
        (
            {"max_latency_ms": 5.0, "identity": replace(IDENTITY, target={"kind": "other"})},
            "limits.latency_ms = None, and now it would be 5.0",
        ),
        (
            {"identity": replace(IDENTITY, data_fingerprint="g", data="pets", data_facts=OTHER_FACTS)},
            "exists with other data: toy, and now it would be pets (2 training images, expected 1; surplus classes: "
            "owl; missing classes: cat)",
        ),
        (
            {"identity": replace(IDENTITY, data_facts=replace(FACTS, crop_pct=0.875))},
            "preprocessing.crop_pct = 1.0, and now it would be 0.875",
        ),
        ({"identity": replace(IDENTITY, target={"kind": "other"})}, "target.kind = virtual, and now it would be other"),
    ],
)
def test_a_study_is_continued_only_as_it_was_created(bench: Bench, options: dict, difference: str) -> None:
    bench.run(5)
    before = bench.facts()
    with pytest.raises(StudyMismatchError) as caught:
        bench.run(9, **options)
    assert difference in str(caught.value)
    assert bench.facts() == before


@dataclass(frozen=True)
class Mixing(TinySpace):
    """A space that offers a choice of mixers, of which two sets have names."""

    mixers: str = "full,mbconv"
    mixer_set_names: ClassVar = {"full,mbconv": "core", "full,mbconv,window,lka": "all"}


@pytest.mark.parametrize(
    ("before", "now", "difference"),
    [
        ("full,mbconv", "full,mbconv,window,lka", "core, and now it would be all; continue it"),
        ("full,mbconv", "full,dwconv", "core, and now it would be another (added: dwconv; missing: mbconv);"),
        ("full", "full,mbconv", "a choice of its own, and now it would be core (added: mbconv);"),
    ],
)
def test_other_mixers_are_told_by_their_set_or_by_what_differs(
    bench: Bench, before: str, now: str, difference: str
) -> None:
    bench.run(3, space=Mixing(mixers=before))
    with pytest.raises(StudyMismatchError, match=re.escape(f"study 's' exists with mixers = {difference}")):
        bench.run(5, space=Mixing(mixers=now))


def test_moved_data_of_another_name_are_the_same_data(bench: Bench) -> None:
    bench.run(5)
    found = replace(IDENTITY, data="renamed", data_facts=replace(FACTS, num_test=7))
    bench.run(6, identity=found)
    assert len(bench.facts()) == 6


def test_weights_that_a_kill_kept_too_long_are_dropped_by_the_next_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Search, "_forget_weights", lambda *_: None)
        bench.run(10)
    kept = {facts.trial_number for facts in bench.facts() if facts.weights}
    bench.run(11)
    with contextlib.closing(open_store(bench.url)) as store:
        members = {member.trial_number for member in store.front("s").members}
    assert kept - members
    assert {facts.trial_number for facts in bench.facts() if facts.weights} == members
    assert len(list(bench.folder.glob("artifacts/weights/**/*.*"))) == len(members)


def test_a_search_that_lost_its_study_stops(bench: Bench) -> None:
    def lost() -> None:
        raise StudyLockedError("another process owns it now")

    with pytest.raises(StudyLockedError):
        bench.run(5, check_owner=lost)
    assert TrialState.RUNNING not in bench.states()


def test_a_trial_that_somebody_else_enqueues_keeps_its_number_and_ours_keep_theirs(bench: Bench) -> None:
    evaluator = ScriptedEvaluator()
    space = TinySpace()

    def enqueue_in_mid_search() -> None:
        if len(evaluator.submitted) == 5 and len(bench.trials()) == 5:
            optuna.load_study(study_name="s", storage=bench.url).enqueue_trial(space.sample(np.random.default_rng(0)))

    bench.run(12, evaluator, space, check_owner=enqueue_in_mid_search)
    assert bench.states() == [TrialState.COMPLETE] * 5 + [TrialState.WAITING] + [TrialState.COMPLETE] * 7
    trials = bench.trials()
    for facts in bench.facts():
        assert space.architecture(trials[facts.trial_number].params).arch_hash == facts.arch_hash


def test_drawings_need_a_folder(bench: Bench) -> None:
    (bench.folder / "artifacts").write_text("in the way")
    with pytest.raises(InvalidInputError, match=r"cannot make the folder .*drawings .*--artifacts"):
        bench.run(5)


def test_a_drawing_that_cannot_be_kept_stops_with_a_reason(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NasError, match=r"a drawing cannot be kept under .*: No space left on device; make room"):
        bench.run(5)


def test_a_latency_of_another_device_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run(5)
    monkeypatch.setattr("tests.doubles.TARGET", {"kind": "virtual", "device_name": "another"})
    with pytest.raises(StudyMismatchError, match="device_name another instead of None"):
        bench.run(9)
    assert TrialState.RUNNING not in bench.states()


def test_disk_full_while_keeping_weights_stops_with_a_reason(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(NasError, match=r"weights cannot be kept under .*: No space left on device"):
            bench.run(5)
    assert not list(bench.folder.glob("artifacts/weights/**/*.part"))
    assert bench.run(5).complete
    assert bench.states() == [TrialState.COMPLETE] * 5


def test_warm_start_begins_with_the_presets(bench: Bench) -> None:
    evaluator = ScriptedEvaluator()
    bench.run(6, evaluator)
    assert [job.spec for job in evaluator.submitted[:2]] == [
        {"depth": 1, "kernel": 0, "width": 1},
        {"depth": 1, "kernel": 0, "width": 4},
    ]


@pytest.mark.parametrize("sampler", ["tpe", "ehvi"])
def test_warm_start_begins_with_the_front_of_an_earlier_study(bench: Bench, sampler: str) -> None:
    bench.run(20, study="first")
    with contextlib.closing(open_store(bench.url)) as store:
        front = store.front("first")
        assert front is not None
        specs = {trial.trial_number: trial.spec for trial in store.facts("first")}
    evaluator = ScriptedEvaluator(with_latency=False)
    options = {"warm_start": "study:first", "sampler": sampler, "objectives": ("top1", "macs")}
    assert bench.run(MAX_STARTERS + 4, evaluator, **options).complete
    begun = [job.spec for job in evaluator.submitted[:MAX_STARTERS]]
    members = [specs[member.trial_number] for member in front.members]
    assert len(members) > MAX_STARTERS
    assert begun == [spec for spec in members if spec in begun]
    assert members[0] in begun and members[-1] in begun
    assert bench.run(MAX_STARTERS + 6, ScriptedEvaluator(with_latency=False), **options).complete


def test_a_warm_start_that_cannot_be_used_is_refused_before_anything_is_recorded(bench: Bench) -> None:
    bench.run(3, study="first")

    class Larger(TinySpace):
        space_hash = "another"

    with pytest.raises(
        InvalidInputError, match="names the study 'nope'; expected one of this database, which has: first"
    ):
        bench.run(5, warm_start="study:nope")
    with pytest.raises(
        InvalidInputError, match=r"'first', which searched tiny .*; expected one of the same space, scale, mixers"
    ):
        bench.run(5, space=Larger(), warm_start="study:first")
    with contextlib.closing(open_store(bench.url)) as store:
        assert [study.name for study in store.studies()] == ["first"]


def test_a_resumed_search_does_not_begin_with_the_presets_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run(6)
    enqueued = []
    monkeypatch.setattr(SearchStudy, "enqueue", lambda self, genotype: enqueued.append(genotype))
    bench.run(8)
    assert not [preset for preset in TinySpace().presets().values() if preset in enqueued]


def test_time_limit_keeps_the_state(bench: Bench) -> None:
    outcome = bench.run(20, max_hours=1e-9)
    assert not outcome.complete
    assert outcome.exit_code == 0
    assert "time limit" in outcome.reason
    assert bench.run(20).complete


def test_patience_ends_the_search_after_so_many_evaluations_without_growth(bench: Bench) -> None:
    outcome = bench.run(60, patience=6)
    assert outcome.complete and outcome.exit_code == 0
    assert (
        "not grown in the last 6 evaluations, --patience is 6; a larger --patience, or none, continues"
        in outcome.reason
    )
    history = bench.history()
    assert history.stalled == 6
    assert history.evaluated == history.growths[-1].evaluated + 6 < 60
    gaps = [after.evaluated - before.evaluated for before, after in pairwise(history.growths)]
    assert max(gaps) <= 6


def test_patience_counts_on_after_an_interruption(tmp_path: Path) -> None:
    numbers = []
    for name, cut in (("whole", 99), ("cut", 3)):
        (tmp_path / name).mkdir()
        bench = Bench(tmp_path / name)
        for _ in range(20):
            evaluator = ScriptedEvaluator()
            stop = partial(lambda evaluator, cut: len(evaluator.submitted) > cut, evaluator, cut)
            if bench.run(60, evaluator, stop=stop, patience=6, warm_start="none", sampler="random").complete:
                break
        assert bench.history().stalled == 6
        numbers.append(bench.history().evaluated)
        assert TrialState.RUNNING not in bench.states()
    assert min(numbers) > 6


def test_out_of_patience_what_is_in_flight_is_recorded_and_nothing_new_begins(bench: Bench) -> None:
    evaluator = ScriptedEvaluator(num_workers=3)
    bench.run(60, evaluator, patience=5)
    assert bench.states() == [TrialState.COMPLETE] * len(evaluator.submitted)
    assert 5 <= bench.history().stalled <= 5 + 2


def test_growth_while_the_last_ones_end_gives_new_patience(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class OneByOne(ScriptedEvaluator):
        def events(self, timeout_s: float) -> list:
            return [self._ready.popleft()] if self._ready else []

    # The first preset is worse than guessing, so patience is out while the second one is in flight.
    monkeypatch.setattr("tests.doubles.tiny_top1", lambda spec: 0.05 if spec["width"] == 1 else tiny_top1(spec))
    evaluator = OneByOne(num_workers=2)
    bench.run(60, evaluator, patience=1)
    assert bench.history().growths[0].evaluated == 2
    assert len(evaluator.submitted) == bench.history().evaluated > 2
    assert bench.history().stalled >= 1


def test_a_study_out_of_patience_needs_no_worker(bench: Bench) -> None:
    bench.run(60, patience=6)
    evaluated = bench.history().evaluated
    for budget, patience, reason in (
        (60, 6, "patience is out"),
        (evaluated, 6, "budget reached already"),
        (60, 7, None),
        (60, None, None),
    ):
        outcome = bench.already_done(budget, patience=patience)
        assert (
            outcome is None
            if reason is None
            else outcome is not None and outcome.complete and outcome.reason.startswith(reason)
        )
    assert "patience is out" in bench.run(60, again := ScriptedEvaluator(), patience=6).reason
    assert again.submitted == []
    bench.run(evaluated + 2)
    assert bench.history().evaluated == evaluated + 2


def test_history_is_that_of_the_recorded_fronts(bench: Bench) -> None:
    evaluator = ScriptedEvaluator(num_workers=3)
    bench.run(30, evaluator, stop=lambda: len(evaluator.submitted) > 12)
    bench.run(30, ScriptedEvaluator(num_workers=3))
    with contextlib.closing(open_store(bench.url)) as store:
        volumes = recorded_volumes(store)
    grown = [volume for before, volume in pairwise([0.0, *volumes]) if volume > before]
    assert [step.hypervolume for step in bench.history().growths] == grown


def test_every_outcome_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def fails(job: Job) -> Failed | None:
        return Failed(job.trial_number, "worker 0", "loss is nan", retryable=False) if job.trial_number == 3 else None

    with caplog.at_level("INFO", logger="nas"):
        bench.run(5, ScriptedEvaluator(failure=fails))
    lines = [record.message for record in caplog.records]
    assert any(line.startswith("trial 0 COMPLETE: top1 0.") and "latency_ms" in line for line in lines)
    assert any(line.startswith("trial 3 FAIL (loss is nan)") for line in lines)


def test_latencies_on_further_targets_are_stored_beside_the_front(tmp_path: Path) -> None:
    other = Latency({"kind": "another"}, {}, 7.0, 6.0, 8.0, 9.0, 30)
    bench = Bench(tmp_path)
    bench.run(6, ScriptedEvaluator(other_latencies=(other,)), other_targets=("another",))
    with contextlib.closing(open_store(bench.url)) as store:
        timings = store.timings("s")
        facts = list(store.facts("s"))
        assert store.check_fronts("s") == []
    assert len(facts) == len(timings) == 6
    for trial in facts:
        assert timings[trial.trial_number] == [trial.latency, other], "one row for each target"


def test_a_caller_hears_every_trial_every_new_front_and_every_note(tmp_path: Path) -> None:
    heard: list[SearchEvent] = []
    left = "the search goes on with 1 of 2 workers"
    failing = ScriptedEvaluator(failure=lambda job: FAILURE if job.trial_number == 2 else None, notices=(left,))
    bench = Bench(tmp_path)
    bench.run(6, failing, on_event=heard.append)
    finished = [event for event in heard if isinstance(event, TrialFinished)]
    recorded = [replace(facts, weights=None) for facts in bench.facts()]
    assert [replace(event.facts, weights=None) for event in finished] == recorded
    assert [event.evaluated for event in finished if event.facts.state == "COMPLETE"] == [1, 2, 3, 4, 5, 6]
    assert {event.budget for event in finished} == {6}
    assert [event.text for event in heard if isinstance(event, Note)] == [left, "trial 2 failed: cannot be built"]
    fronts = [event.front for event in heard if isinstance(event, FrontGrew)]
    assert fronts
    with contextlib.closing(open_store(bench.url)) as store:
        latest = store.front("s")
        assert latest is not None
        assert [front.version for front in fronts] == list(range(1, latest.version + 1))
        assert fronts[-1] == store.front("s")


def test_what_a_caller_raises_ends_the_search_and_loses_nothing(tmp_path: Path) -> None:
    def enough(event: SearchEvent) -> None:
        if isinstance(event, TrialFinished) and event.evaluated == 3:
            raise ValueError("enough")

    bench = Bench(tmp_path)
    with pytest.raises(ValueError, match="enough"):
        bench.run(8, ScriptedEvaluator(num_workers=2), on_event=enough)
    assert TrialState.RUNNING not in bench.states()
    assert bench.run(8).complete
    assert bench.states() == [TrialState.COMPLETE] * 8


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_a_file_of_scores_guides_a_search_that_is_stopped_and_continues(bench: Bench, suffix: str) -> None:
    rng = np.random.default_rng(0)
    genotypes = [TinySpace().sample(rng) for _ in range(30)]
    file = bench.folder / f"scores.{suffix}"
    entries = [{"genotype": genotype, "score": sum(map(int, genotype.values()))} for genotype in genotypes]
    if suffix == "json":
        file.write_text(json.dumps(entries), encoding="utf-8")
    else:
        lines = [
            f"{','.join(map(str, genotype.values()))},{sum(map(int, genotype.values()))}" for genotype in genotypes
        ]
        # Spreadsheets write a mark of the encoding, a carriage return, and blank lines.
        file.write_text("\r\n".join([f"{','.join(genotypes[0])},score", *lines, "", ""]), encoding="utf-8-sig")
    options = {"sampler": "ehvi", "scores": str(file), "objectives": ("top1", "macs")}
    bench.run(14, ScriptedEvaluator(with_latency=False), **options)
    assert bench.run(20, ScriptedEvaluator(with_latency=False), **options).complete
    with contextlib.closing(open_store(bench.url)) as store:
        facts = list(store.facts("s"))
    assert sum(trial.is_counted for trial in facts) == len({trial.arch_hash for trial in facts}) == 20


def test_hashes_in_a_file_of_scores_are_those_of_this_database(bench: Bench) -> None:
    bench.run(12, study="first")
    with contextlib.closing(open_store(bench.url)) as store:
        hashes = [trial.arch_hash for trial in store.facts("first")]
    file = bench.folder / "scores.json"
    file.write_text(json.dumps([{"arch_hash": text, "score": i} for i, text in enumerate(hashes)]), encoding="utf-8")
    assert bench.run(14, scores=str(file), sampler="ehvi").complete
    file.write_text(json.dumps([{"arch_hash": text[::-1], "score": 1} for text in hashes]), encoding="utf-8")
    with pytest.raises(InvalidInputError, match="has 0 scores of architectures that are known here, of 12; expected 3"):
        bench.run(16, study="third", scores=str(file))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.json", "{}", "is another JSON; expected JSON, a list"),
        ("s.json", '[{"score": 1}]', "is another JSON; expected JSON, a list"),
        ("s.json", "[", "cannot be read: .*; expected JSON, a list"),
        ("s.json", '[{"arch_hash": "a", "score": "1"}]', "entry 1 of --scores .* has the score '1'; expected a finite"),
        ("s.json", '[{"arch_hash": "a", "score": NaN}]', "entry 1 of --scores .* has the score nan; expected a finite"),
        ("s.json", '[{"genotype": null, "score": 1}]', "has the genotype None; expected an object"),
        ("s.json", '[{"genotype": [1], "score": 1}]', r"has the genotype \[1\]; expected an object"),
        (
            "s.json",
            '[{"genotype": {"x": 1}, "score": 1}]',
            "lacks the genes depth, kernel, width and has unknown ones, x",
        ),
        ("s.json", f'[{{"arch_hash": "a", "score": 1{"0" * 400}}}]', "has the score 10*; expected a finite number"),
        ("s.json", '[{"arch_hash": "a"}]', "entry 1 of --scores .* has no score; expected a finite number"),
        ("s.csv", "arch_hash,score\na,", "entry 1 of --scores .* has no score; expected a finite number"),
        ("s.csv", "arch_hash,value\na,1", "the header lacks score; expected JSON"),
        ("s.csv", "arch_hash,score,score\na,1,2", "the header has score twice"),
        ("s.csv", "depth,score\n3,1", "the header lacks width, kernel; expected JSON"),
        (
            "s.csv",
            "depth,width,kernel,score\n1,1,1,1\n99,1,1,1",
            "entry 2 of --scores .* has depth '99'; expected one of 1, 2",
        ),
        ("s.csv", "arch_hash,score\na,b", "entry 1 of --scores .* has the score 'b'; expected a finite number"),
        ("s.csv", "arch_hash,score\na,1,2", "line 2 has 3 cells, and the header has 2"),
        ("s.csv", "depth,width,kernel,score\n1,1,1,1\n1,1,1,2\n1,1,1,3", "has 1 scores of architectures"),
    ],
)
def test_a_file_that_has_no_scores_is_refused_before_anything_is_recorded(
    bench: Bench, name: str, text: str, message: str
) -> None:
    file = bench.folder / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=message):
        bench.run(5, scores=str(file))
    with contextlib.closing(open_store(bench.url)) as store:
        assert list(store.studies()) == []
