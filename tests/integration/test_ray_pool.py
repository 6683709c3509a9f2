"""Two real local workers with a quick evaluation in place of training: the contract, then what can go wrong with a
worker."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from nas.errors import InvalidInputError
from nas.protocols import Event, Failed, Finished, Job, RungReached, Started
from tests.contracts.evaluator_contract import EvaluatorContract, collect, run
from tests.integration.quick_work import TIMEOUT_S, quick_job, quick_pool
from workers.cluster.pool import RayPool

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def pool() -> Iterator[RayPool]:
    pool = quick_pool()
    yield pool
    pool.close()


class TestContract(EvaluatorContract):
    @pytest.fixture
    def evaluator(self, pool: RayPool) -> RayPool:
        return pool

    @pytest.fixture
    def good_job(self) -> Callable[[int], Job]:
        return quick_job

    @pytest.fixture
    def bad_job(self) -> Callable[[int], Job]:
        return lambda number: quick_job(number, "bad")


def _worker_pids(pool: RayPool) -> set[int]:
    """Process numbers of the idle workers, by running a job on each."""
    for number in (900, 901):
        pool.submit(quick_job(number, "pid"))
    events = collect(pool, lambda events: len(events) == 2)
    return {int(event.reason) for event in events if isinstance(event, Failed)}


@pytest.mark.parametrize(
    ("do", "reason"),
    [("cuda", "RuntimeError: CUDA error: an illegal"), ("die", "died"), ("hang", "no result within 2 s")],
)
def test_a_broken_worker_is_replaced(pool: RayPool, do: str, reason: str) -> None:
    before = _worker_pids(pool)
    (failed,) = run(pool, quick_job(30, do))
    assert isinstance(failed, Failed)
    assert failed.retryable
    assert reason in failed.reason
    assert "\n" not in failed.reason
    assert isinstance(run(pool, quick_job(30))[-1], Finished)
    after = _worker_pids(pool)
    assert len(before & after) == 1
    assert len(after) == 2


def test_a_worker_that_is_killed_during_a_job(pool: RayPool) -> None:
    """The neighbour's job goes on."""
    pool.submit(quick_job(31, "die later"))
    pool.submit(quick_job(32))
    collect(pool, lambda events: len(events) == 2)
    pool.answer(31, True)
    (failed,) = collect(pool, bool)
    assert isinstance(failed, Failed)
    assert (failed.trial_number, failed.retryable) == (31, True)
    pool.answer(32, False)
    assert isinstance(collect(pool, bool)[0], Finished)


def test_a_job_that_waited_for_its_worker_says_when_it_begins(pool: RayPool) -> None:
    _worker_pids(pool)  # both are up
    for number in (36, 37):
        pool.submit(quick_job(number, "die"))
    collect(pool, lambda events: len(events) == 2)  # and now neither is
    pool.submit(quick_job(38))
    events: list[Event] = []
    while not events:
        events += pool.events(timeout_s=1.0)
    assert [type(event) for event in events] == [Started]
    assert events[0].trial_number == 38
    collect(pool, bool)
    pool.answer(38, False)
    assert isinstance(collect(pool, bool)[0], Finished)


def test_a_job_that_waited_for_its_worker_has_its_own_time_limit(pool: RayPool) -> None:
    """Not what was left of the time in which a worker must come up."""
    _worker_pids(pool)  # both are up
    for number in (40, 41):
        pool.submit(quick_job(number, "die"))
    collect(pool, lambda events: len(events) == 2)  # and now neither is
    pool.submit(quick_job(42, "hang"))
    events: list[Event] = []
    while not events:
        events += pool.events(timeout_s=1.0)
    assert [type(event) for event in events] == [Started]
    began = time.monotonic()
    (failed,) = collect(pool, bool)
    assert isinstance(failed, Failed) and "no result within 2 s" in failed.reason
    assert time.monotonic() - began < 20


def test_a_retry_goes_to_another_worker(pool: RayPool) -> None:
    (failed,) = run(pool, quick_job(33, "cuda"))
    assert run(pool, quick_job(33))[-1].worker != failed.worker


def test_waiting_for_an_answer_is_no_computing(pool: RayPool) -> None:
    pool.submit(quick_job(34))
    collect(pool, bool)
    assert pool.events(timeout_s=TIMEOUT_S + 0.5) == []
    pool.answer(34, False)
    assert isinstance(collect(pool, bool)[0], Finished)


def test_while_nobody_listens_no_time_counts(pool: RayPool) -> None:
    """The coordinator waits for its database."""
    pool.submit(quick_job(36))
    time.sleep(TIMEOUT_S + 0.5)
    assert isinstance(run_on(pool, 36), Finished)


def run_on(pool: RayPool, number: int) -> Event:
    """Let a job go on to its end; its last event."""
    while True:
        for event in collect(pool, bool):
            if isinstance(event, Finished | Failed):
                return event
            if not isinstance(event, RungReached) or not event.last:
                pool.answer(number, True)


def test_the_time_limit_counts_all_rungs_together(pool: RayPool) -> None:
    (*_, failed) = run(pool, quick_job(35, rung_s=0.7 * TIMEOUT_S))
    assert isinstance(failed, Failed)
    assert "no result within" in failed.reason


def test_a_time_limit_that_no_evaluation_meets_is_refused(pool: RayPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_trial_timeout_s", 0.9)
    with pytest.raises(
        InvalidInputError, match=r"takes about 1 s here, and the time limit of a trial is 0\.9 s; give a larger one"
    ):
        pool.calibrate({}, {})


def test_a_round_trip_is_short(pool: RayPool) -> None:
    _worker_pids(pool)
    durations = []
    for number in range(100, 140):
        start = time.perf_counter()
        run(pool, quick_job(number, "bad"))
        durations.append(time.perf_counter() - start)
    assert sorted(durations)[len(durations) // 2] < 0.02


def test_strangers_are_kept_out(pool: RayPool) -> None:
    """Ray listens on all interfaces; without the token nobody gets in."""
    import ray

    address = ray.get_runtime_context().gcs_address
    code = f"from ray._raylet import GcsClient; GcsClient(address={address!r})"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert found.returncode != 0
    assert "InvalidAuthToken" in found.stderr
