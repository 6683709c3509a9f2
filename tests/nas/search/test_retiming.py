"""Second timings of a front's members: taken together and recorded whole. On a real database, without workers."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from db.store import SqlStore
from nas.errors import StudyLockedError
from nas.pareto.front import FrontKeeper
from nas.pareto.places import places
from nas.protocols import Failed, Job
from nas.records import Latency
from nas.reports.retimings import places_text, retimings_text
from nas.search.retiming import time_again, unsettled
from tests.doubles import ScriptedEvaluator
from tests.samples import REFERENCE_POINT, TARGET, TRIALS, latest_front, study_record, trial

OTHER = {**TARGET, "threads": 2}


def timing(ms: float, spread: float = 0.05, target: dict = TARGET) -> Latency:
    return Latency(target, {}, ms, ms * (1 - spread), ms * (1 + spread), ms * 1.2, 30)


def second_timing(job: Job) -> Latency:
    """4 % slower than what the search measured of the sample's members, on the target that the job names."""
    first = next(trial.latency for trial in TRIALS if trial.trial_number == job.trial_number)
    return timing(1.04 * first.median_ms) if job.timing == 0 else timing(0.5, target=OTHER)


@pytest.fixture
def store(sqlite_store: SqlStore) -> SqlStore:
    """Trials 0, 2 and 3 are the front; on the other target trial 2 alone is, and trial 5 failed."""
    sqlite_store.create_study(study_record())
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT)
    for facts in TRIALS:
        others = {2: (timing(0.4, target=OTHER),), 1: (timing(0.6, target=OTHER),)}.get(facts.trial_number, ())
        sqlite_store.record("sample", replace(facts, spec={}, other_latencies=others), keeper.add(facts))
    return sqlite_store


def run(
    store: SqlStore,
    evaluator: ScriptedEvaluator,
    targets: Sequence[dict] = (TARGET,),
    stop: Callable[[], bool] = lambda: False,
    check_owner: Callable[[], None] = lambda: None,
) -> tuple[bool, list[str]]:
    notes: list[str] = []
    fronts = unsettled(study_record(), targets, store)
    ended = time_again(
        fronts,
        seed=7,
        evaluator=evaluator,
        store=store,
        check_owner=check_owner,
        stop_requested=stop,
        note=notes.append,
    )
    return ended, notes


def timed(evaluator: ScriptedEvaluator) -> list[tuple[int, int | None]]:
    return [(job.trial_number, job.timing) for job in evaluator.submitted]


def test_members_are_timed_again_once_one_after_the_other(store: SqlStore) -> None:
    evaluator = ScriptedEvaluator(num_workers=1, second_timing=second_timing)
    ended, notes = run(store, evaluator)
    assert ended and "timing the 3 members of the front on cpu" in notes[0]
    assert timed(evaluator) == [(0, 0), (2, 0), (3, 0)] and {job.seed for job in evaluator.submitted} == {7}
    assert {proceed for _, proceed in evaluator.answers} == {False}
    [retiming] = store.retimings("sample")
    assert {number: latency.median_ms for number, latency in retiming.latencies.items()} == {0: 1.04, 2: 4.16, 3: 8.32}
    assert store.check_fronts("sample") == [], "facts and front stay what they are"
    assert store.front("sample").members == latest_front().members
    again = ScriptedEvaluator(second_timing=second_timing)
    assert run(store, again) == (True, []) and again.submitted == []


def test_every_target_has_its_own_front(store: SqlStore) -> None:
    evaluator = ScriptedEvaluator(second_timing=second_timing)
    run(store, evaluator, (TARGET, OTHER))
    assert timed(evaluator) == [(0, 0), (2, 0), (3, 0), (2, 1)]
    assert [retiming.target for retiming in store.retimings("sample")] == [TARGET, OTHER]
    lines = retimings_text(
        study_record(), list(store.facts("sample")), store.timings("sample"), store.retimings("sample")
    )
    assert (
        len(lines) == 2 and lines[0].startswith("3 members") and "on cpu:threads=2" in lines[1] and "+25.0%" in lines[1]
    )
    assert run(store, evaluator, (TARGET, OTHER, {"kind": "never timed"}))[1] == []


def test_a_new_member_has_all_timed_together_again(store: SqlStore) -> None:
    run(store, ScriptedEvaluator(second_timing=second_timing))
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT, latest_front())
    better = trial(8, 0.9, 9.0)
    store.record("sample", better, keeper.add(better))
    evaluator = ScriptedEvaluator(second_timing=lambda job: timing(job.trial_number + 1.0))
    run(store, evaluator)
    assert timed(evaluator) == [(0, 0), (2, 0), (3, 0), (8, 0)]
    assert [set(retiming.latencies) for retiming in store.retimings("sample")] == [{0, 2, 3}, {0, 2, 3, 8}]


def test_a_front_that_only_shrank_is_settled(store: SqlStore) -> None:
    run(store, ScriptedEvaluator(second_timing=second_timing))
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT, latest_front())
    better = trial(8, 0.86, 0.9)
    store.record("sample", better, keeper.add(better))
    assert [view.front.members[0].trial_number for _, view in unsettled(study_record(), [TARGET], store)] == [8]
    run(store, ScriptedEvaluator(second_timing=lambda job: timing(0.9)))
    assert unsettled(study_record(), [TARGET], store) == []
    assert len(places(store.front("sample"), store.facts("sample"), store.retimings("sample")[-1])) == 1


class Killed(BaseException):
    """Stands for kill -9."""


def test_a_kill_leaves_no_half_sitting_and_the_next_run_begins_anew(store: SqlStore) -> None:
    def kill(job: Job) -> None:
        if job.trial_number == 3:
            raise Killed

    with pytest.raises(Killed):
        run(store, ScriptedEvaluator(second_timing=second_timing, on_submit=kill))
    assert store.retimings("sample") == []
    evaluator = ScriptedEvaluator(second_timing=second_timing)
    assert run(store, evaluator)[0]
    assert timed(evaluator) == [(0, 0), (2, 0), (3, 0)]


def test_the_user_and_another_owner_may_stop_it(store: SqlStore) -> None:
    evaluator = ScriptedEvaluator(second_timing=second_timing)
    assert not run(store, evaluator, stop=lambda: len(evaluator.submitted) == 2)[0]

    def lost() -> None:
        raise StudyLockedError("another process owns it now")

    with pytest.raises(StudyLockedError):
        run(store, ScriptedEvaluator(second_timing=second_timing), check_owner=lost)
    assert store.retimings("sample") == []


def test_a_lost_worker_costs_a_retry_and_a_member_that_cannot_be_timed_is_named(store: SqlStore) -> None:
    def fails(job: Job) -> Failed | None:
        if job.trial_number == 2 and job.attempt < 2:
            return Failed(2, "worker 0", "actor died", retryable=True)
        return Failed(3, "worker 0", "out of memory", retryable=False) if job.trial_number == 3 else None

    evaluator = ScriptedEvaluator(second_timing=second_timing, failure=fails, notices=("a node is lost",))
    ended, notes = run(store, evaluator)
    assert ended and notes[1:] == ["a node is lost", "trial 3 could not be timed again: out of memory"]
    assert [(job.trial_number, job.attempt) for job in evaluator.submitted] == [(0, 0), (2, 0), (2, 1), (2, 2), (3, 0)]
    front = latest_front()
    text = places_text(front, places(front, TRIALS, store.retimings("sample")[0]))
    assert text[0].startswith("2 of 3 members of the front timed again: +4.0% in the middle, 2 within")
    assert unsettled(study_record(), [TARGET], store), "the same command tries again"


def test_timings_of_another_device_are_not_mixed_in(store: SqlStore) -> None:
    ended, notes = run(store, ScriptedEvaluator(second_timing=lambda job: timing(1.0, target=OTHER)))
    assert ended and notes[1].startswith("not timed again: the worker times on cpu:threads=2")
    assert store.retimings("sample") == []


def test_a_cost_that_is_counted_is_not_timed(store: SqlStore) -> None:
    assert unsettled(study_record("macs"), [TARGET], store) == []
