"""When sampling ends and what is believed, on a clock that the tests turn."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle

import pytest
import torch

from workers.latency import sampling
from workers.latency.sampling import Clock, Forward, Sample, Sitting, is_narrow, median_interval, sit, undisturbed

Duration = Callable[[float], float]
"""Time of day -> seconds of one pass that begins then."""


@dataclass
class Machine:
    """A clock that moves only while something runs on it."""

    now: float = 0.0
    preempt: Callable[[float], bool] = lambda start: False
    paused: int = 0

    def model(self, duration: Duration) -> Forward:
        def forward() -> None:
            self.now += duration(self.now)

        return forward

    def clock(self, min_sample_s: float = 1e-3) -> Clock:
        def timer(forward: Forward, passes: int) -> Sample:
            start = self.now
            for _ in range(passes):
                forward()
            preempted = self.preempt(start)
            self.now += 5e-3 if preempted else 0.0
            return Sample((self.now - start) / passes, int(preempted))

        def pause(duration_s: float) -> None:
            self.now += duration_s
            self.paused += 1

        return Clock(timer, min_sample_s, now=lambda: self.now, pause=pause)


def _reference(_: float) -> float:
    return 3e-4


def _noisy(share: float) -> Duration:
    noise = cycle(
        torch.linspace(-share, share, 101)[torch.randperm(101, generator=torch.Generator().manual_seed(0))].tolist()
    )
    return lambda _: 2e-3 * (1 + next(noise))


def _sit(machine: Machine, candidate: Duration, reference: Duration = _reference) -> Sitting:
    return sit(machine.model(candidate), machine.model(reference), machine.clock())


def test_sampling_ends_when_the_median_is_sharp() -> None:
    machine = Machine()
    sitting = _sit(machine, _noisy(0.02))
    assert sitting.converged and sitting.conditions()["converged"] is True
    assert len(sitting.seconds) >= sampling.MIN_SAMPLES
    assert sitting.median_s == pytest.approx(2e-3, rel=0.02)
    assert machine.now < 0.3, "the cap is far away"


def test_a_wide_interval_is_sampled_until_the_cap_and_said_so() -> None:
    machine = Machine()
    sitting = _sit(machine, _noisy(0.9))
    assert sitting.conditions()["converged"] is False
    assert machine.now > sampling.CAP_S
    low, high = sitting.interval_s
    assert low < sitting.median_s * (1 - sampling.NARROW) or high > sitting.median_s * (1 + sampling.NARROW)


def test_a_sitting_is_short() -> None:
    """A search of 200 trials stops all other work for the sum of these times."""
    machine = Machine()
    _sit(machine, _noisy(0.9))
    assert machine.now < sampling.WARMUP_S + sampling.CAP_S + 3 * sampling.SLICE_S


def test_more_noise_takes_more_samples() -> None:
    few, many = (_sit(Machine(), _noisy(share)) for share in (0.01, 0.06))
    assert few.converged and many.converged
    assert len(few.seconds) < len(many.seconds)


def test_a_slow_model_still_gets_its_samples() -> None:
    assert len(_sit(Machine(), lambda _: 0.2).seconds) == sampling.MIN_SAMPLES


def test_samples_with_preemption_do_not_count() -> None:
    turns = cycle([True, False, False])
    sitting = _sit(Machine(preempt=lambda _: next(turns)), _noisy(0.01))
    assert max(sitting.seconds) < 2.1e-3, "a preempted sample takes 5 ms more"
    assert sitting.conditions()["disturbed_samples"] > 0


def test_a_model_that_is_always_disturbed_is_timed_nevertheless() -> None:
    machine = Machine(preempt=lambda _: True)
    sitting = _sit(machine, _noisy(0.01))
    assert len(sitting.seconds) == sampling.MIN_SAMPLES
    assert machine.paused > 0, "pauses make undisturbed samples likelier"
    assert sampling.DISTURBED_CAP_S < machine.now < 2 * sampling.DISTURBED_CAP_S
    quiet = [Sample(1.0, 1)] * 30
    assert undisturbed([Sample(9.0, 2), *quiet, Sample(2.0)], few=2) == [2.0, *[1.0] * 29]
    assert undisturbed([*quiet, Sample(2.0), Sample(3.0)], few=2) == [2.0, 3.0]


def test_without_disturbance_nothing_pauses() -> None:
    machine = Machine()
    _sit(machine, _noisy(0.9))
    assert machine.paused == 0


def test_a_drift_of_the_reference_discards_the_samples() -> None:
    """Everything is twice as slow for the first sitting's second half, then quiet."""

    def slow_for_a_while(duration_s: float) -> Duration:
        return lambda now: duration_s * (2 if 0.1 < now < 0.4 else 1)

    sitting = _sit(Machine(), slow_for_a_while(2e-3), slow_for_a_while(3e-4))
    assert sitting.repeats >= 1
    assert sitting.median_s == pytest.approx(2e-3)
    assert sitting.conditions()["reference_steady"] is True


def test_a_machine_that_keeps_changing_is_reported() -> None:
    machine = Machine()
    sitting = _sit(machine, lambda now: 2e-3, lambda now: 3e-4 * (1 + int(now / 0.05) % 2))
    assert sitting.repeats == sampling.MAX_REPEATS
    assert sitting.conditions()["reference_steady"] is False
    assert sitting.conditions()["reference_drift"] > sampling.MAX_DRIFT


def test_a_steady_reference_costs_no_repeat() -> None:
    sitting = _sit(Machine(), _noisy(0.01))
    assert (sitting.repeats, sitting.drift) == (0, pytest.approx(0.0, abs=1e-9))


def test_short_passes_share_a_sample() -> None:
    assert _sit(Machine(), lambda _: 1.1e-4).passes_per_sample == 10


def test_a_pace_that_does_not_settle_is_reported() -> None:
    machine = Machine()
    sitting = _sit(machine, lambda now: 1e-3 * (1 + now))
    assert sitting.conditions()["warmup_stable"] is True
    assert _sit(Machine(), lambda now: 1e-3 * 2 ** min(now * 100, 30)).conditions()["warmup_stable"] is False


def test_narrow_means_both_ends() -> None:
    assert is_narrow([1.0] * 30)
    assert not is_narrow([1.0] * 16 + [1.03] * 14)
    assert not is_narrow([0.97] * 14 + [1.0] * 16)


@pytest.mark.parametrize(("n", "rank"), [(1, 1), (5, 1), (6, 1), (10, 2), (20, 6), (30, 10), (100, 40)])
def test_median_interval_has_the_tabulated_ranks(n: int, rank: int) -> None:
    assert median_interval([float(i) for i in range(1, n + 1)]) == (rank, n + 1 - rank)


def test_median_interval_covers_the_median() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = torch.rand(2000, 51, generator=generator).pow(3).sort(dim=1).values.tolist()  # skewed; its median is 1/8
    covered = sum(low <= 0.125 <= high for low, high in map(median_interval, samples))
    assert 0.94 < covered / len(samples) < 0.985
