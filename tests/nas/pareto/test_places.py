"""Which members keep their place by their second timings."""

from nas.pareto.front import FrontKeeper
from nas.pareto.places import latest, places
from nas.records import Latency, Retiming
from tests.samples import REFERENCE_POINT, TARGET, TRIALS, latest_front, trial


def timing(ms: float, spread: float = 0.05) -> Latency:
    return Latency(TARGET, {}, ms, ms * (1 - spread), ms * (1 + spread), ms * 1.2, 30)


def test_a_place_is_lost_where_the_rival_is_faster_beyond_both_intervals() -> None:
    """By the second timings trial 3 (top1 0.85) takes 4 ms: trial 0 took 5 ms, and trial 2 4.1 ms."""
    again = places(latest_front(), TRIALS, Retiming(TARGET, {0: timing(5.0), 2: timing(4.1), 3: timing(4.0)}))
    rivals = [None if place.rival is None else place.rival.trial_number for place in again]
    assert [place.trial_number for place in again] == [0, 2, 3]
    assert (rivals, [place.is_lost for place in again]) == ([3, 3, None], [True, False, False])


def test_of_several_rivals_the_one_whose_interval_ends_first_is_named() -> None:
    seconds = {0: timing(9.0), 2: timing(4.0, 0.5), 3: timing(4.5, 0.05)}
    first, *_ = places(latest_front(), TRIALS, Retiming(TARGET, seconds))
    assert first.rival is not None and first.rival.trial_number == 3


def test_equal_points_take_no_place_from_each_other() -> None:
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT)
    twins = [trial(0, 0.5, 1.0), trial(1, 0.5, 1.0)]
    front = [keeper.add(twin) for twin in twins][-1]
    assert front is not None and len(front.members) == 2
    again = places(front, twins, Retiming(TARGET, {0: timing(1.1), 1: timing(1.1)}))
    assert [place.rival for place in again] == [None, None]


def test_where_nothing_was_timed_again_there_is_no_place() -> None:
    assert places(latest_front(), TRIALS, None) == ()
    assert places(latest_front(), TRIALS, Retiming(TARGET, {})) == ()


def test_the_last_sitting_on_a_target_counts() -> None:
    other = {**TARGET, "threads": 2}
    sittings = [Retiming(TARGET, {0: timing(1.0)}), Retiming(TARGET, {0: timing(2.0)}), Retiming(other, {})]
    assert latest(sittings, TARGET) == sittings[1]
    assert latest(sittings, {"kind": "never timed"}) is None
