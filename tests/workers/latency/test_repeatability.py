"""What the comparison of two passes says."""

from benchmarks.repeatability import compare
from nas.records import JSON


def _timings(*medians: float) -> list[JSON]:
    return [{"median_ms": median, "ci_low_ms": 0.9 * median, "ci_high_ms": 1.1 * median} for median in medians]


def test_equal_passes_agree_in_everything() -> None:
    found = compare(_timings(1, 2, 3, 3.1), _timings(1, 2, 3, 3.1))
    assert found["disjoint_pairs"] == 5, "3 and 3.1 overlap"
    assert (found["order_kept"], found["within_interval"], found["median_difference"]) == (1.0, 1.0, 0.0)


def test_a_swap_costs_order_and_coverage() -> None:
    found = compare(_timings(1, 2, 3, 3.1), _timings(2, 1, 3.2, 3.1))
    assert found["order_kept"] == 4 / 5
    assert found["within_interval"] == 0.5
    assert found["largest_difference"] == 1.0
    assert found["tau"] < 1
