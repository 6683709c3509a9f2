"""The members of a front, timed once more together when a search ends, and what that says of their places.

A search times each candidate when its turn comes, minutes or days apart, and of many timings a front keeps those that
came out low: some of them by luck. Here the members are timed again, one right after the other on one worker and with
nothing in training, by the same protocol. The second latencies stand beside the facts; front and facts stay what they
are.
"""

import logging
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from nas.errors import InvalidInputError
from nas.pareto.targets import TargetView, Timings, on_target, target_text
from nas.protocols import Evaluator, Failed, Finished, Job, LatencyMeasured, Store
from nas.records import JSON, Front, Latency, Retiming, StudyRecord, TrialFacts
from nas.search.loop import MAX_RETRIES, POLL_S
from nas.text import cost_text, latency_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """A member of a front and its two timings."""

    trial_number: int
    top1: float
    first: Latency
    second: Latency
    rival: "Place | None" = None
    """By the second timings this member is as good in both, and better in one; None when no member is."""

    @property
    def change(self) -> float:
        """Of the median, relative to the first."""
        return self.second.median_ms / self.first.median_ms - 1

    @property
    def is_lost(self) -> bool:
        """Whether the rival is faster beyond both intervals. They speak of other sittings, and these two are of one:
        that is cautious."""
        return self.rival is not None and self.rival.second.ci_high_ms < self.second.ci_low_ms


def unsettled(study: StudyRecord, targets: Sequence[JSON], store: Store) -> list[tuple[int, TargetView]]:
    """The fronts of a study of which not every member was timed again in one sitting, as (place of the target, study as
    seen on it).

    Args:
        search: the study.
        targets: fingerprints, the objective's first.
        store: has its facts.

    Returns:
        Nothing for a study whose cost is counted.
    """
    if study.objectives[1] != "latency_ms":
        return []
    facts = list(store.facts(study.name))
    timings = store.timings(study.name)
    retimings = store.retimings(study.name)
    found = []
    for place, target in enumerate(targets):
        view = _view(study, facts, timings, target)
        again = latest(retimings, target)
        if view is not None and not {member.trial_number for member in view.front.members} <= set(
            again.latencies if again else ()
        ):
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
            outcome = _time(job, evaluator, check_owner, stop_requested)
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
    job: Job, evaluator: Evaluator, check_owner: Callable[[], None], stop_requested: Callable[[], bool]
) -> Latency | Failed | None:
    """One timing and the end of its job, tried again when the machine is to blame; None when the user wants to stop."""
    evaluator.submit(job)
    latency: Latency | None = None
    while not stop_requested():
        check_owner()
        for event in evaluator.events(POLL_S):
            match event:
                case LatencyMeasured():
                    latency = event.latency
                    evaluator.answer(job.trial_number, proceed=False)
                case Finished():
                    assert latency is not None, "a job that is only timed was timed"
                    return latency
                case Failed() if event.retryable and job.attempt < MAX_RETRIES:
                    return _time(replace(job, attempt=job.attempt + 1), evaluator, check_owner, stop_requested)
                case Failed():
                    return event
    return None


def latest(retimings: Sequence[Retiming], target: JSON | None) -> Retiming | None:
    """The last sitting on a target (a whole fingerprint)."""
    return next((retiming for retiming in reversed(retimings) if retiming.target == target), None)


def places(front: Front, facts: Iterable[TrialFacts], retiming: Retiming | None) -> tuple[Place, ...]:
    """The members of a front that have a second timing, by ascending cost.

    Trials beside the front were not timed again, so none of them can take a place.

    Args:
        front: of latencies on the target of the retiming.
        facts: its members, and others or not.
        retiming: None where nothing was timed again.
    """
    seconds = retiming.latencies if retiming else {}
    firsts = {trial.trial_number: trial.latency for trial in facts}
    timed = [
        Place(member.trial_number, member.top1, first, seconds[member.trial_number])
        for member in front.members
        if member.trial_number in seconds and (first := firsts[member.trial_number]) is not None
    ]
    return tuple(replace(place, rival=_rival(place, timed)) for place in timed)


def _rival(place: Place, others: Sequence[Place]) -> Place | None:
    """Of those that dominate it by top1 and second median, the one whose interval ends first."""
    ms = place.second.median_ms
    rivals = [
        other
        for other in others
        if other.top1 >= place.top1
        and other.second.median_ms <= ms
        and (other.top1, other.second.median_ms) != (place.top1, ms)
    ]
    return min(rivals, key=lambda rival: rival.second.ci_high_ms, default=None)


def places_text(front: Front, again: Sequence[Place]) -> list[str]:
    """One line about all members, and one for each that is dominated now; nothing where nothing was timed again."""
    if not again:
        return []
    members = len(front.members)
    largest = max(again, key=lambda place: abs(place.change))
    number = str(members) if len(again) == members else f"{len(again)} of {members}"
    within = sum(place.first.ci_low_ms <= place.second.median_ms <= place.first.ci_high_ms for place in again)
    middle = statistics.median(place.change for place in again)
    first, second = (cost_text("latency_ms", timing.median_ms) for timing in (largest.first, largest.second))
    head = (
        f"{number} members of the front timed again: {middle:+.1%} in the middle, {within} within their first "
        "interval, "
        f"largest change trial {largest.trial_number}, {first} -> {second} ({largest.change:+.1%})"
    )
    return [head, *(_lost_text(place, place.rival) for place in again if place.rival is not None)]


def _lost_text(place: Place, rival: Place) -> str:
    verdict = "lost its place" if place.is_lost else "may have lost its place, the intervals overlap"
    first = latency_text(place.first)
    second = latency_text(place.second)
    return (
        f"trial {place.trial_number} {verdict}: top1 {place.top1:.4f}, {first} at first, {second} now; "
        f"trial {rival.trial_number} has top1 {rival.top1:.4f} and {latency_text(rival.second)} now"
    )


def retimings_text(
    study: StudyRecord, facts: Sequence[TrialFacts], timings: Timings, retimings: Sequence[Retiming]
) -> list[str]:
    """The lines of `places_text` for every target on which members of the study's fronts were timed again, its own
    first."""
    if study.objectives[1] != "latency_ms":
        return []
    others = {str(retiming.target): retiming.target for retiming in retimings if retiming.target != study.target}
    lines = []
    for target in (study.target, *others.values()):
        view = None if target is None else _view(study, facts, timings, target)
        if view is not None:
            told = places_text(view.front, places(view.front, view.facts, latest(retimings, target)))
            lines += told if target == study.target else [f"on {target_text(target or {})}: {line}" for line in told]
    return lines


def _view(study: StudyRecord, facts: Sequence[TrialFacts], timings: Timings, target: JSON) -> TargetView | None:
    """The study on a target; None where no finished trial was timed on it."""
    try:
        return on_target(study, facts, timings, target)
    except InvalidInputError:
        return None
