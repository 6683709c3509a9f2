"""The loop: ask -> canonical form -> seen before? replay -> too costly? reject -> submit -> rungs -> tell.

One thread, one writer. Facts and front are committed before a trial is told, so a kill at any point loses at most the
evaluations in flight, and those are taken up again under their numbers (DESIGN 2.3, 2.7).
"""

import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import assert_never

from nas.backoff import NO_WAITING, Backoff
from nas.config import SearchConfig
from nas.errors import NasError, SearchAbortedError, StudyMismatchError
from nas.pareto.front import FrontKeeper
from nas.protocols import (
    MAX_RETRIES,
    Evaluator,
    Event,
    Failed,
    Finished,
    Job,
    LatencyMeasured,
    NetworkScored,
    Notice,
    RungReached,
    SearchSpace,
    Started,
    TrialStore,
)
from nas.records import COUNTED_STATES, JSON, KeptWeights, Latency, RungScore, TrialFacts, TrialState, cost_of
from nas.search.attributes import drawing_attributes, latency_attribute, make_drawings_folder, trial_attributes
from nas.search.events import FrontGrew, Note, OnEvent, TrialFinished, ignore
from nas.search.halving import ParetoHalving
from nas.search.progress import Progress
from nas.search.proposals import ESCAPES, Candidate, Proposer
from nas.search.scoring import Scoring
from nas.search.study import SearchStudy
from nas.search.weights import WeightsFolder
from nas.text import memory_text, printable

logger = logging.getLogger(__name__)

FIRST_FAILURES = 5
"""The search stops when this many evaluations fail before one succeeds."""
RECENT = 20
"""It also stops when more than half of this many latest evaluations failed."""
FRUITLESS_TIMINGS = 100
"""Candidates in a row that are timed and found over the latency limit, after which the limit counts as too tight."""
POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of a search ended."""

    reason: str
    """One line for people."""
    complete: bool
    """True when nothing is left to do: the budget is reached, nothing new can be found or patience is out."""
    exit_code: int = 0
    """What the command ends with: 1 when the limits let nothing through, 130 when the user stopped it."""

    @property
    def interrupted(self) -> bool:
        """Whether the user stopped it."""
        return self.exit_code == EXIT_INTERRUPTED


EXIT_INTERRUPTED = 130
INTERRUPTED = Outcome("interrupted; the state is saved", complete=False, exit_code=EXIT_INTERRUPTED)


def out_of_patience(patience: int | None, stalled: int) -> Outcome | None:
    """How a search ends when `stalled` evaluations in a row added nothing to the hypervolume; None when it goes on."""
    if patience is None or stalled < patience:
        return None
    reason = (
        f"patience is out: the hypervolume has not grown in the last {stalled} evaluations, --patience is {patience}"
    )
    return Outcome(f"{reason}; a larger --patience, or none, continues", complete=True)


@dataclass(slots=True)
class _Flight:
    """A job on its way."""

    candidate: Candidate
    number: int
    started: float
    """Monotonic clock; later than the submission by what it waited for a worker to come up."""
    submitted: float
    """Monotonic clock, when the latest attempt was submitted."""
    attempt: int = 0
    latency: Latency | None = None
    rungs: list[RungScore] = field(default_factory=list)
    reached_last: bool = False
    over_limit: str | None = None


class Search:
    """One run of a search in an established study. Everything it holds can be rebuilt from the store and the recorded
    study."""

    def __init__(
        self,
        *,
        config: SearchConfig,
        space: SearchSpace,
        evaluator: Evaluator,
        store: TrialStore,
        study: SearchStudy,
        proposer: Proposer,
        scoring: Scoring,
        keeper: FrontKeeper,
        weights: WeightsFolder,
        target: JSON | None,
        backoff: Backoff = NO_WAITING,
    ) -> None:
        """Take over the parts; nas/search/establish.py puts them together.

        Args:
            config: the validated options.
            space: where candidates come from.
            evaluator: started, idle.
            store: open; the coordinator holds the study's lease.
            study: reconciled.
            proposer: knows every recorded outcome.
            scoring: knows what is recorded of the sample of its scores.
            keeper: stands at the study's latest front.
            weights: the study's own folder.
            target: fingerprint that every latency of the study must have; None when it asks for none.
            backoff: how long a full disk is waited for; store and study have their own for the database.
        """
        self.study = study
        self.keeper = keeper
        self.plan: tuple[str, ...] = ()
        """Lines about what the search will do and cost; `establish` writes them."""
        self._config = config
        self._space = space
        self._evaluator = evaluator
        self._store = store
        self._proposer = proposer
        self._scoring = scoring
        self._target = target
        self._weights = weights
        self._backoff = backoff
        self._kept: dict[int, KeptWeights] = {
            facts.trial_number: facts.weights for facts in proposer.known.values() if facts.weights
        }
        self._halving = ParetoHalving(config.keep, config.cost_objective, proposer.known.values())
        self._flights: dict[int, _Flight] = {}
        self._counts: Counter[str] = Counter(facts.state for facts in proposer.known.values())
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self._layouts = {facts.trial_number: facts.layout for facts in proposer.known.values()}
        self._fruitless_timings = 0

    @property
    def evaluated(self) -> int:
        """Distinct architectures that count towards the budget."""
        return sum(self._counts[state] for state in COUNTED_STATES)

    @property
    def num_to_score(self) -> int:
        """Networks whose training-free scores are still to be computed."""
        return self._scoring.num_left

    @property
    def _begun(self) -> int:
        """Trainings of the study that have begun and count, or will."""
        return self.evaluated + len(self._flights)

    @property
    def num_waiting(self) -> int:
        """Trials that an earlier run began and that are still to be taken up."""
        return len(self._proposer.waiting)

    def run(
        self,
        progress: Progress,
        check_owner: Callable[[], None] = lambda: None,
        stop_requested: Callable[[], bool] = lambda: False,
        on_event: OnEvent = ignore,
    ) -> Outcome:
        """Search until the budget is reached, the space is exhausted, patience or time is over, or the user stops it.

        On the way out, whatever the reason, no trial is left RUNNING.

        Args:
            progress: what people see.
            check_owner: raises when the study belongs to another process.
            stop_requested: True once the user wants the search to stop.
            on_event: hears what happens; what it raises ends the search.

        Raises:
            SearchAbortedError: if evaluations keep failing.
            NasError: if database, disk or evaluator fail.
        """
        self._progress = progress
        self._on_event = on_event
        self._drawings = make_drawings_folder(Path(self._config.artifacts))
        started = time.monotonic()
        try:
            # A kill may have come between a new front and this.
            self._forget_weights(set(self._kept) - {member.trial_number for member in self.keeper.members})
            while True:
                if (end := self._early_end(started, stop_requested)) is not None:
                    return end
                exhausted = not self._fill()
                if not self._flights and not self._scoring.num_in_flight:
                    return self._with_passed_over(self._end(exhausted))
                for event in self._evaluator.events(POLL_S):
                    self._handle(event)
                self._show()
                check_owner()
        finally:
            # With a failed database the next run puts them back.
            with contextlib.suppress(NasError):
                for number in self._flights:
                    self.study.release(number)

    def _early_end(self, started: float, stop_requested: Callable[[], bool]) -> Outcome | None:
        if stop_requested():
            return INTERRUPTED
        hours = self._config.max_hours
        if hours is not None and time.monotonic() - started > hours * 3600:
            return Outcome(f"time limit of {hours:g} h reached; the state is saved", complete=False)
        return None

    def _end(self, exhausted: bool) -> Outcome:
        if (
            self.evaluated < self._config.budget
            and (end := out_of_patience(self._config.patience, self.keeper.stalled)) is not None
        ):
            return end
        if not exhausted:
            return Outcome(
                f"budget reached: {self.evaluated} of {self._config.budget} architectures evaluated", complete=True
            )
        rejected = self._counts["REJECTED"]
        failed = self._counts["FAIL"]
        tally = f"{self.evaluated} evaluated, {rejected} over the limits, {failed} failed"
        limits = ", ".join(f"{name} <= {value:g}" for name, value in self._config.limits.items())
        if limits and not self.evaluated:
            return Outcome(
                f"limits too tight: nothing was found within {limits} ({tally})", complete=False, exit_code=1
            )
        if limits:  # which samplers see some of: it is no use to count what was rejected
            return Outcome(f"nothing new was found within {limits} ({tally})", complete=True)
        total = self._proposer.count_architectures()
        if total is None:
            return Outcome(
                f"nothing new was found in {ESCAPES} tries: the space is exhausted, or nearly so ({tally})",
                complete=True,
            )
        return Outcome(
            f"space exhausted: {len(self._proposer.known)} of {total} architectures ({tally})", complete=True
        )

    def _with_passed_over(self, outcome: Outcome) -> Outcome:
        screen = self._proposer.screen
        if screen is None or not screen.passed_over:
            return outcome
        count = f"{len(screen.passed_over)} candidates were passed over untimed, predicted over the latency limit"
        return replace(outcome, reason=f"{outcome.reason}; {count}")

    def _fill(self) -> bool:
        """Keep every worker busy, within the budget. False when nothing new can be found."""
        # Out of patience, what is in flight may still make the front grow; then the search goes on.
        while (
            len(self._flights) + self._scoring.num_in_flight < self._evaluator.num_workers
            and self._begun < self._config.budget
            and out_of_patience(self._config.patience, self.keeper.stalled) is None
        ):
            if (job := self._scoring.next_job(self._begun)) is not None:
                self._evaluator.submit(job)
                continue
            if self._scoring.holds_back(self._begun):
                return True
            if self._fruitless_timings >= FRUITLESS_TIMINGS:
                return False
            parents = [self.study.genotypes[member.trial_number] for member in self.keeper.members]
            candidate = self._proposer.next(parents)
            self._tell_news()
            if candidate is None:
                return False
            self._launch(candidate)
        return True

    def _launch(self, candidate: Candidate) -> None:
        number = candidate.trial_number
        if number is None:
            architecture = candidate.architecture
            attributes = trial_attributes(
                layout=printable(architecture.layout()),
                arch_hash=architecture.arch_hash,
                costs=candidate.costs,
                reason=None if candidate.feasible else _excess_text(candidate.constraints, self._config.limits),
            )
            picture = self._space.draw(architecture)
            drawing = self._backoff.until_done(lambda: drawing_attributes(picture, self._drawings))
            number = self.study.start(candidate.asked, candidate.genotype, candidate.constraints, attributes, drawing)
        else:
            self.study.restart(candidate.asked, number, candidate.constraints)
        flight = _Flight(candidate, number, now := time.monotonic(), now)
        if candidate.feasible:
            self._flights[number] = flight
            self._evaluator.submit(self._job(flight))
        else:
            reason = _excess_text(candidate.constraints, self._config.limits)
            self._finish(flight, self._facts(flight, "REJECTED", reason=reason), None)

    def _job(self, flight: _Flight) -> Job:
        return Job(flight.number, flight.candidate.architecture.to_spec(), self._config.seed, flight.attempt)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Notice):
            self._note(event.text)
            return
        if isinstance(event, NetworkScored) or event.trial_number < 0:
            self._on_scoring(event)
            return
        flight = self._flights[event.trial_number]
        match event:
            case Started():
                flight.started += time.monotonic() - flight.submitted
            case LatencyMeasured():
                self._on_latency(flight, event)
            case RungReached():
                self._on_rung(flight, event)
            case Finished():
                self._on_finished(flight, event)
            case Failed():
                self._on_failed(flight, event)
            case _:
                assert_never(event)

    def _on_scoring(self, event: Event) -> None:
        """A job of the sample began or ended; only its end matters."""
        if isinstance(event, NetworkScored):
            self._scoring.finish(event)
        elif isinstance(event, Failed) and (again := self._scoring.fail(event)) is not None:
            self._note(f"scoring a network: {event.reason}; retry {again.attempt} of {MAX_RETRIES}")
            self._evaluator.submit(again)
        if not self._scoring.num_left:
            for line in self._scoring.lines():
                self._tell(line)

    def _on_latency(self, flight: _Flight, event: LatencyMeasured) -> None:
        if event.latency.target != self._target:
            raise StudyMismatchError(_target_difference(event, self._target))
        flight.latency = event.latency
        limit = self._config.max_latency_ms
        if limit is not None:
            excess = event.latency.median_ms / limit - 1
            constraints = {**flight.candidate.constraints, "latency_ms": excess}
            self.study.constrain(flight.number, constraints)
            if excess > 0:
                flight.over_limit = f"latency_ms is {event.latency.median_ms:.4g}, over the limit of {limit:g}"
        self._evaluator.answer(flight.number, proceed=flight.over_limit is None)

    def _on_rung(self, flight: _Flight, event: RungReached) -> None:
        flight.rungs.append(event.score)
        flight.reached_last = event.last
        if not event.last:
            cost = cost_of(self._config.cost_objective, flight.candidate.costs, flight.latency)
            assert cost is not None, "what is trained has its cost"
            self._evaluator.answer(
                flight.number, self._halving.proceeds(flight.number, event.score.rung, event.score.top1, cost)
            )

    def _on_finished(self, flight: _Flight, event: Finished) -> None:
        if flight.over_limit is not None:
            self._proposer.misses += 1
            self._fruitless_timings += 1
            facts = self._facts(flight, "REJECTED", event, flight.over_limit)
        else:
            self._fruitless_timings = 0
            facts = self._facts(flight, "COMPLETE" if flight.reached_last else "PRUNED", event)
            self._recent.append(True)
        self._finish(flight, facts, event.weights)

    def _on_failed(self, flight: _Flight, event: Failed) -> None:
        if event.retryable and flight.attempt < MAX_RETRIES:
            self._note(f"trial {flight.number}: {event.reason}; retry {flight.attempt + 1} of {MAX_RETRIES}")
            flight.attempt += 1
            flight.latency = None
            flight.over_limit = None
            flight.reached_last = False
            flight.rungs.clear()
            flight.submitted = time.monotonic()
            self._evaluator.submit(self._job(flight))
            return
        self._note(f"trial {flight.number} failed: {event.reason}")
        self._finish(flight, self._facts(flight, "FAIL", event, event.reason), None)
        self._recent.append(False)
        failures = self._recent.count(False)
        hopeless = failures == len(self._recent) >= FIRST_FAILURES
        if hopeless or (len(self._recent) == RECENT and failures > RECENT // 2):
            raise SearchAbortedError(
                f"{failures} of the last {len(self._recent)} evaluations failed; the last one: {event.reason}"
            )

    def _facts(
        self, flight: _Flight, state: TrialState, event: Finished | Failed | None = None, reason: str | None = None
    ) -> TrialFacts:
        candidate = flight.candidate
        return TrialFacts(
            trial_number=flight.number,
            arch_hash=candidate.architecture.arch_hash,
            spec=candidate.architecture.to_spec(),
            layout=printable(candidate.architecture.layout()),
            costs=candidate.costs,
            seed=self._config.seed,
            state=state,
            reason=None if reason is None else printable(reason),
            latency=flight.latency,
            other_latencies=event.other_latencies if isinstance(event, Finished) else (),
            rungs=tuple(flight.rungs),
            device=event.device if isinstance(event, Finished) else "",
            worker=event.worker if event is not None else "",
            duration_s=time.monotonic() - flight.started,
        )

    def _finish(self, flight: _Flight, facts: TrialFacts, weights: bytes | None) -> None:
        """Facts and front first, in one transaction; then the trial is told."""
        before = self.keeper.members
        front = self.keeper.add(facts)
        if front is not None and weights is not None:
            kept = self._keep(facts, weights)
            facts = replace(facts, weights=kept)
            self._kept[facts.trial_number] = kept
        self._store.record(self._config.study, facts, front)
        self._annotate(facts)
        self.study.tell(facts.trial_number, facts)
        self._flights.pop(facts.trial_number, None)
        self._proposer.finish(facts)
        self._counts[facts.state] += 1
        self._layouts[facts.trial_number] = facts.layout
        logger.info(_log_line(facts, self._config.cost_objective))
        if front is not None:
            self._forget_weights({m.trial_number for m in before} - {m.trial_number for m in front.members})
        self._on_event(TrialFinished(facts, self.evaluated, self._config.budget))
        if front is not None:
            self._on_event(FrontGrew(front))

    def _keep(self, facts: TrialFacts, weights: bytes) -> KeptWeights:
        return self._backoff.until_done(lambda: self._weights.keep(facts, weights))

    def _annotate(self, facts: TrialFacts) -> None:
        attributes: dict[str, object] = {} if facts.latency is None else dict([latency_attribute(facts.latency)])
        if facts.reason is not None:
            attributes["reason"] = facts.reason
        self.study.annotate(facts.trial_number, attributes)

    def _forget_weights(self, left: set[int]) -> None:
        dropped = {number: kept for number in left if (kept := self._kept.pop(number, None)) is not None}
        if dropped:
            self._store.forget_weights(self._config.study, sorted(dropped))
            for kept in dropped.values():
                self._weights.drop(kept)

    def _tell_news(self) -> None:
        screen = self._proposer.screen
        while screen is not None and screen.news:
            line = screen.news.pop(0)
            logger.info(line)
            self._tell(line)

    def _note(self, message: str) -> None:
        logger.warning(message)
        self._tell(message)

    def _tell(self, line: str) -> None:
        self._progress.note(line)
        self._on_event(Note(line))

    def _show(self) -> None:
        members = self.keeper.members
        self._progress.update(
            evaluated=self.evaluated,
            counts=self._counts,
            best_top1=members[-1].top1 if members else None,
            hypervolume=self.keeper.hypervolume if members else None,
            front=members,
            layouts=self._layouts,
            activities=self._evaluator.activities(),
        )


def _log_line(facts: TrialFacts, cost_objective: str) -> str:
    values = {"top1": facts.top1, cost_objective: facts.cost(cost_objective)}
    known = ", ".join(f"{name} {value:.4g}" for name, value in values.items() if value is not None)
    reason = "" if facts.reason is None else f" ({facts.reason})"
    where = facts.worker or "no worker"
    memory = memory_text(facts.rungs[-1].micro_batches) if facts.rungs else ""
    return (
        f"trial {facts.trial_number} {facts.state}{reason}: {known}; {facts.duration_s:.1f} s on {where}{memory}; "
        f"{facts.layout}"
    )


def _excess_text(constraints: Mapping[str, float], limits: Mapping[str, float]) -> str:
    over = [name for name, excess in constraints.items() if excess > 0]
    return "; ".join(
        f"{name} is {limits[name] * (1 + constraints[name]):,.0f}, over the limit of {limits[name]:,.0f}"
        for name in over
    )


def _target_difference(event: LatencyMeasured, target: JSON | None) -> str:
    expected = target or {}
    given = event.latency.target
    names = [name for name in {**expected, **given} if expected.get(name) != given.get(name)]
    difference = ", ".join(f"{name} {given.get(name)} instead of {expected.get(name)}" for name in names)
    return (
        f"{event.worker} timed on another target than the study's: {difference}; give another --study for this machine"
    )
