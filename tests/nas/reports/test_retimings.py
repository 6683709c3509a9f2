"""What is said of second timings."""

from nas.pareto.places import places
from nas.records import Latency, Retiming
from nas.reports.retimings import places_text, retimings_text
from tests.samples import TARGET, TRIALS, latest_front, study_record

OTHER = {**TARGET, "threads": 2}


def timing(ms: float, target: dict = TARGET) -> Latency:
    return Latency(target, {}, ms, ms * 0.95, ms * 1.05, ms * 1.2, 30)


def test_who_lost_a_place_is_said_and_how_surely() -> None:
    """By the second timings trial 3 (top1 0.85) takes 4 ms: trial 0 took 5 ms, and trial 2 4.1 ms."""
    front = latest_front()
    again = places(front, TRIALS, Retiming(TARGET, {0: timing(5.0), 2: timing(4.1), 3: timing(4.0)}))
    head, lost, perhaps = places_text(front, again)
    assert head == (
        "3 members of the front timed again: +2.5% in the middle, 1 within their first interval, largest change "
        "trial 0, 1.00 ms -> 5.00 ms (+400.0%)"
    )
    assert lost == (
        "trial 0 lost its place: top1 0.5000, 1.00 ms (0.950 - 1.10) at first, 5.00 ms (4.75 - 5.25) now; "
        "trial 3 has top1 0.8500 and 4.00 ms (3.80 - 4.20) now"
    )
    assert perhaps.startswith("trial 2 may have lost its place, the intervals overlap: top1 0.8000, 4.00 ms")


def test_nothing_is_said_where_nothing_was_timed_again() -> None:
    assert places_text(latest_front(), ()) == []
    assert retimings_text(study_record(), TRIALS, {}, []) == []


def test_the_studys_own_target_comes_first_and_others_are_named() -> None:
    timings = {trial.trial_number: [trial.latency] for trial in TRIALS}
    timings[2].append(timing(0.4, OTHER))
    retimings = [Retiming(OTHER, {2: timing(0.5, OTHER)}), Retiming(TARGET, {2: timing(4.0)})]
    own, other = retimings_text(study_record(), TRIALS, timings, retimings)
    assert own.startswith("1 of 3 members of the front timed again: +0.0% in the middle")
    assert other.startswith("on cpu:threads=2,batch=1") and ": 1 members of the front timed again: +25.0%" in other


def test_a_cost_that_is_counted_has_no_second_timing() -> None:
    assert retimings_text(study_record("macs"), TRIALS, {}, [Retiming(TARGET, {0: timing(1.0)})]) == []
