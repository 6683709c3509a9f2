"""How long to sample and what to believe: warm-up, samples until their median is sharp, a reference beside them.

Knows neither networks nor devices: it calls what it is given and reads the clock that it is given.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from nas.records import JSON

MIN_SAMPLES = 30
"""An interval of the median needs some: with 30 samples it spans the 10th to the 21st."""
MAX_SAMPLES = 600
SLICE_S = 0.1
"""Candidate and reference take turns: after this much sampling the reference is timed and the interval looked at."""
CAP_S = 0.3
"""When sampling ends although the interval is wide; MIN_SAMPLES of a slow model may take longer. All workers wait
meanwhile."""
DISTURBED_CAP_S = 2.0
"""When sampling ends although most samples were disturbed."""
FEW_SAMPLES = 10
"""So many undisturbed samples are better than MIN_SAMPLES of which most were disturbed."""
NARROW = 0.02
"""The median is sharp when both ends of its interval lie within this share of it."""
IN_A_ROW = 10
PAUSE_S = 0.004
"""After so many disturbed samples one pass is longer than what the scheduler grants beside the others; who pauses is
granted more. It is the last resort, because the pause leaves the caches to the others."""
REFERENCE_SAMPLES = 16
REFERENCE_S = 0.03
"""Intended duration of one timing of the reference."""
MAX_DRIFT = 0.15
"""Between the slowest and the fastest timing of the reference in one sitting; beyond it the samples are discarded."""
MAX_REPEATS = 2
REPEAT_WITHIN_S = 1.5
"""Everybody else waits meanwhile. Without a steady sitting the steadiest is taken, and the conditions say so."""
WARMUP_WINDOW = 5
"""Passes per window; the pace is stable when the medians of two consecutive windows differ by less than
WARMUP_TOLERANCE."""
WARMUP_TOLERANCE = 0.05
WARMUP_S = 1.0
"""A pace that is not stable by then is measured nevertheless, and the conditions say so."""

Forward = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of the clock."""

    seconds: float
    """Per pass."""
    preemptions: int = 0
    """How often the kernel meanwhile gave a core to somebody else. The device was not the model's alone then."""


Timer = Callable[[Forward, int], Sample]
"""(forward, passes) -> sample."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What time is read from."""

    timer: Timer
    min_sample_s: float
    """Shortest duration of one sample: what the resolution of the timer asks for."""
    now: Callable[[], float] = time.monotonic
    """Seconds; for the caps."""
    pause: Callable[[float], None] = time.sleep

    def passes(self, forward_s: float) -> int:
        """Forward passes that make up one sample."""
        return max(1, math.ceil(self.min_sample_s / forward_s))


@dataclass(frozen=True, slots=True)
class Pace:
    """What a warm-up found."""

    forward_s: float
    passes: int
    stable: bool


@dataclass(frozen=True, slots=True)
class Sitting:
    """Samples of one model, and what the reference took beside them."""

    seconds: tuple[float, ...]
    """Per pass, ascending: the samples that count."""
    reference_s: tuple[float, ...]
    """Medians of the reference, in the order of time: before, between and after the samples."""
    pace: Pace
    passes_per_sample: int
    disturbed: int
    """Samples that were left out because the model was not alone."""
    repeats: int = 0
    """Sittings that were discarded."""

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def interval_s(self) -> tuple[float, float]:
        """95 % confidence interval of the median, as far as the samples tell."""
        return median_interval(self.seconds)

    @property
    def converged(self) -> bool:
        return is_narrow(self.seconds)

    @property
    def drift(self) -> float:
        """Share by which the slowest timing of the reference exceeds the fastest."""
        return max(self.reference_s) / min(self.reference_s) - 1

    def conditions(self) -> JSON:
        """For the record, beside the result."""
        low, high = self.interval_s
        return {
            "warmup_passes": self.pace.passes,
            "warmup_stable": self.pace.stable,
            "passes_per_sample": self.passes_per_sample,
            "disturbed_samples": self.disturbed,
            "converged": self.converged,
            "sampling_interval_ms": [low * 1e3, high * 1e3],
            "min_ms": self.seconds[0] * 1e3,
            "reference_ms": statistics.median(self.reference_s) * 1e3,
            "reference_drift": self.drift,
            "reference_steady": self.drift <= MAX_DRIFT,
            "repeats": self.repeats,
        }


@dataclass(frozen=True, slots=True)
class _Stopwatch:
    """A model that is warm, and how it is sampled."""

    forward: Forward
    clock: Clock
    pace: Pace

    @classmethod
    def warm(cls, forward: Forward, clock: Clock) -> Self:
        return cls(forward, clock, warm_up(forward, clock))

    @property
    def passes(self) -> int:
        return self.clock.passes(self.pace.forward_s)

    def sample(self) -> Sample:
        return self.clock.timer(self.forward, self.passes)

    def median_s(self) -> float:
        """Median of a few samples, seconds; of fewer where they take long."""
        samples = [self.sample()]
        end = self.clock.now() + REFERENCE_S
        while len(samples) < REFERENCE_SAMPLES and (len(samples) < 3 or self.clock.now() < end):
            samples.append(self.sample())
        return statistics.median(undisturbed(samples, min(len(samples), 3)))


def sit(candidate: Forward, reference: Forward, clock: Clock) -> Sitting:
    """Time the candidate between timings of the reference; again, if the reference says that the machine changed
    meanwhile.

    Args:
        candidate: one pass of the model.
        reference: one pass of a small model that never changes.
        clock: read for both.

    Returns:
        The first steady sitting, or the steadiest of MAX_REPEATS + 1.
    """
    beside = _Stopwatch.warm(reference, clock)
    timed = _Stopwatch.warm(candidate, clock)
    latest_start = clock.now() + REPEAT_WITHIN_S
    sittings = [_sit_once(timed, beside, clock.now)]
    while sittings[-1].drift > MAX_DRIFT and len(sittings) <= MAX_REPEATS and clock.now() < latest_start:
        sittings.append(_sit_once(timed, beside, clock.now))
    return replace(min(sittings, key=lambda sitting: sitting.drift), repeats=len(sittings) - 1)


def _sit_once(timed: _Stopwatch, beside: _Stopwatch, now: Callable[[], float]) -> Sitting:
    samples: list[Sample] = []
    references = [beside.median_s()]
    started = now()
    while True:
        slice_end = now() + SLICE_S
        while now() < slice_end and len(samples) < MAX_SAMPLES:
            samples.append(timed.sample())
            if all(sample.preemptions for sample in samples[-IN_A_ROW:]) and len(samples) >= IN_A_ROW:
                timed.clock.pause(PAUSE_S)
        references.append(beside.median_s())
        alone = [sample for sample in samples if not sample.preemptions]
        if len(alone) >= MIN_SAMPLES and (
            is_narrow(sorted(sample.seconds for sample in alone)) or len(samples) >= MAX_SAMPLES
        ):
            break
        cap_s = CAP_S if len(alone) >= MIN_SAMPLES else DISTURBED_CAP_S
        if now() - started >= cap_s and len(samples) >= MIN_SAMPLES:
            break
    kept = undisturbed(samples, FEW_SAMPLES)
    return Sitting(tuple(sorted(kept)), tuple(references), timed.pace, timed.passes, len(samples) - len(kept))


def warm_up(forward: Forward, clock: Clock) -> Pace:
    """Run until two consecutive windows take about the same time, or WARMUP_S have passed."""
    deadline = clock.now() + WARMUP_S
    previous = math.inf
    passes = 0
    while True:
        median = max(statistics.median(clock.timer(forward, 1).seconds for _ in range(WARMUP_WINDOW)), 1e-9)
        passes += WARMUP_WINDOW
        stable = abs(median - previous) <= WARMUP_TOLERANCE * median
        if stable or clock.now() > deadline:
            return Pace(median, passes, stable)
        previous = median


def undisturbed(samples: Sequence[Sample], few: int) -> list[float]:
    """Durations of the samples without preemption; where those are fewer than `few`, of the MIN_SAMPLES samples with
    the fewest."""
    alone = [sample.seconds for sample in samples if not sample.preemptions]
    if len(alone) >= few:
        return alone
    return [sample.seconds for sample in sorted(samples, key=lambda sample: sample.preemptions)[:MIN_SAMPLES]]


def is_narrow(ordered: Sequence[float]) -> bool:
    """Whether both ends of the median's interval lie within NARROW of it."""
    median = statistics.median(ordered)
    low, high = median_interval(ordered)
    return median - low <= NARROW * median and high - median <= NARROW * median


def median_interval(ordered: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the median, whatever the distribution of the independent samples.

    The number of samples below the median is binomial(n, 1/2), so the k-th smallest and the k-th largest enclose it
    with probability 1 - 2 P(B < k); the largest such k is taken. With fewer than six samples no pair reaches 95 %, and
    the range is returned.

    Args:
        ordered: the samples, ascending, at least one.

    Source: David & Nagaraja, "Order Statistics", 3rd edition, section 7.1.
    """
    n = len(ordered)
    rank = 1
    below = 2.0**-n  # P(B < rank)
    while below + math.comb(n, rank) * 2.0**-n <= (1 - confidence) / 2:
        below += math.comb(n, rank) * 2.0**-n
        rank += 1
    return ordered[rank - 1], ordered[n - rank]
