"""Growth of the hypervolume, replayed from the facts."""

from nas.pareto.front import FrontKeeper
from nas.pareto.history import history_of
from tests.samples import REFERENCE_POINT, TRIALS, trial

HISTORY = history_of(TRIALS, "latency_ms", REFERENCE_POINT)


def test_every_growth_says_what_had_been_spent() -> None:
    assert [(step.trial_number, step.evaluated, step.device_s, step.members) for step in HISTORY.growths] == [
        (0, 1, 4.0, 1),
        (2, 3, 12.0, 2),
        (3, 4, 16.0, 3),
    ]
    assert (HISTORY.evaluated, HISTORY.device_s, HISTORY.stalled) == (5, 20.5, 1)


def test_order_of_ending_counts_and_not_that_of_the_numbers() -> None:
    history = history_of(reversed(TRIALS), "latency_ms", REFERENCE_POINT)
    spent = [(step.trial_number, step.evaluated, step.device_s) for step in history.growths]
    assert spent == [(3, 2, 8.5), (2, 3, 12.5), (1, 4, 16.5), (0, 5, 20.5)]
    assert history.growths[-1].hypervolume == HISTORY.growths[-1].hypervolume


def test_volumes_are_those_of_the_snapshots() -> None:
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT)
    snapshots = [front for facts in TRIALS if (front := keeper.add(facts))]
    assert [step.hypervolume for step in HISTORY.growths] == [front.hypervolume for front in snapshots]


def test_a_front_that_gains_a_point_beyond_the_reference_has_not_grown() -> None:
    history = history_of([trial(0, 0.5, 1.0), trial(1, 0.9, 25.0), trial(2, 0.5, 1.0)], "latency_ms", REFERENCE_POINT)
    assert len(history.growths) == 1
    assert history.stalled == 2


def test_failed_and_rejected_trials_cost_time_and_no_patience() -> None:
    history = history_of(TRIALS[5:], "latency_ms", REFERENCE_POINT)
    assert (history.growths, history.evaluated, history.device_s, history.stalled) == ((), 0, 2.5, 0)


def test_a_keeper_that_continues_counts_on() -> None:
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT, stalled=3)
    keeper.add(trial(0, 0.05, 1.0))
    assert keeper.stalled == 4
    keeper.add(trial(1, 0.5, 1.0))
    assert keeper.stalled == 0
