"""The members of a front, timed once more together when a search ends.

A search times each candidate when its turn comes, minutes or days apart, and of many timings a front keeps those that
came out low: some of them by luck. Here the members are timed again, one right after the other on one worker and with
nothing in training, by the same protocol. The second latencies stand beside the facts; front and facts stay what they
are.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from nas.pareto.places import latest
from nas.pareto.targets import TargetView, target_text, view_on
from nas.protocols import MAX_RETRIES, Evaluator, Failed, Finished, Job, LatencyMeasured, Notice, Store
from nas.records import JSON, Latency, Retiming, StudyRecord
from nas.search.loop import POLL_S

logger = logging.getLogger(__name__)


def unsettled(study: StudyRecord, targets: Sequence[JSON], store: Store) -> list[tuple[int, TargetView]]:
    """The fronts of a study of which not every member was timed again in one sitting, as (place of the target, study as
    seen on it).

    Args:
        study: its record.
        targets: fingerprints, the objective's first.
        store: has its facts.

    Returns:
        Nothing for a study whose cost is counted.
    """
    if study.cost_objective != "latency_ms":
        return []
    facts = list(store.facts(study.name))
    timings = store.timings(study.name)
    retimings = store.retimings(study.name)
    found = []
    for place, target in enumerate(targets):
        view = view_on(study, facts, timings, target)
        if view is None:
            continue
        again = latest(retimings, target)
        members = {member.trial_number for member in view.front.members}
        timed_again = set(again.latencies) if again else set()
        if not members <= timed_again:
            found.append((place, view))
    return found


def time_again(
    fronts: Sequence[tuple[int, TargetView]],
    *,
    seed: int,
    evaluator: Evaluator,
    store: Store,
    check_owner: Callable[[], None],
    stop_requested: Callable[[], bool],
    note: Callable[[str], None],
) -> bool:
    """Time the members of each front once more; what one front takes is recorded at its end, so that a sitting is whole
    or not there.

    Args:
        fronts: what `unsettled` gave.
        seed: of the search's evaluations.
        evaluator: idle.
        store: open; the coordinator holds the study's lease.
        check_owner: raises when the study belongs to another process.
        stop_requested: True once the user wants to stop.
        note: told what is done, and why a member could not be timed.

    Returns:
        False when the user stopped it.

    Raises:
        NasError: if database or evaluator fail.
    """

    def say(text: str) -> None:
        logger.info(text)
        note(text)

    for place, view in fronts:
        target = view.study.target
        assert target is not None, "a front of latencies has a target"
        specs = {trial.trial_number: trial.spec for trial in view.facts}
        say(f"timing the {len(view.front.members)} members of the front on {target_text(target)} again, together")
        timed: dict[int, Latency] = {}
        for member in view.front.members:
            job = Job(member.trial_number, specs[member.trial_number], seed, timing=place)
            outcome = _time(job, evaluator, check_owner, stop_requested, say)
            if outcome is None:
                return False
            if isinstance(outcome, Failed):
                say(f"trial {member.trial_number} could not be timed again: {outcome.reason}")
            elif outcome.target != target:
                say(f"not timed again: the worker times on {target_text(outcome.target)}")
                break
            else:
                timed[member.trial_number] = outcome
        else:
            if timed:
                store.record_retiming(view.study.name, Retiming(target, timed))
    return True


def _time(
    job: Job,
    evaluator: Evaluator,
    check_owner: Callable[[], None],
    stop_requested: Callable[[], bool],
    say: Callable[[str], None],
) -> Latency | Failed | None:
    """One timing and the end of its job, tried again when the machine is to blame; None when the user wants to stop."""
    evaluator.submit(job)
    latency: Latency | None = None
    while not stop_requested():
        check_owner()
        for event in evaluator.events(POLL_S):
            match event:
                case Notice():
                    say(event.text)
                case LatencyMeasured():
                    latency = event.latency
                    evaluator.answer(job.trial_number, proceed=False)
                case Finished():
                    assert latency is not None, "a job that is only timed was timed"
                    return latency
                case Failed() if event.retryable and job.attempt < MAX_RETRIES:
                    return _time(replace(job, attempt=job.attempt + 1), evaluator, check_owner, stop_requested, say)
                case Failed():
                    return event
    return None
