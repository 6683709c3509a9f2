"""What the fronts of searches are worth with the latencies of one sitting."""

import pytest

from benchmarks import mixer_sets
from benchmarks.mixer_sets import Again, Searched, as_timed, members, report
from nas.pareto.front import hypervolume

REFERENCE = (0.1, 8.0)
SEARCHED = Searched("core", 0, "digits", 96, "here", REFERENCE, [(0.5, 2.0), (0.4, 3.0), (0.6, 4.0), (0.7, 1.0)], {})


@pytest.fixture(autouse=True)
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixer_sets, "CHECKPOINTS", (3, 4))


def sitting(*places: int) -> list[Again]:
    return [Again("core", 0, "digits", 96, "here", place, 2 * SEARCHED.points[place][1]) for place in places]


def test_fronts_count_with_the_latencies_of_the_sitting() -> None:
    assert (members(SEARCHED, 3), members(SEARCHED, 4)) == ([0, 2], [3])
    timed = as_timed(sitting(0, 2, 3), SEARCHED)
    assert timed is not None
    for count, points in ((3, [(0.5, 4.0), (0.6, 8.0)]), (4, [(0.7, 2.0)])):
        assert hypervolume(timed.points[:count], REFERENCE) == pytest.approx(hypervolume(points, REFERENCE))


def test_a_search_with_a_member_that_was_not_timed_is_left_out() -> None:
    assert as_timed(sitting(0, 3), SEARCHED) is None
    other = Again("core", 0, "digits", 192, "here", 2, 1.0)
    assert as_timed([*sitting(0, 3), other], SEARCHED) is None
    told = list(report([SEARCHED], [*sitting(0, 3), other]))
    assert "\nhere, latencies of the searches" in told
    assert not any("one sitting" in line for line in told)
    assert "\nhere, fronts timed in one sitting" in list(report([SEARCHED], sitting(0, 2, 3)))
