"""Numbers, moments and tables as people read them."""

from datetime import UTC, datetime

import pytest

from nas.text import (
    cost_axis,
    cost_in_unit,
    cost_text,
    count_text,
    csv_text,
    duration_text,
    json_hash,
    printable,
    text_table,
    utc_text,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (725, "12 min 05 s"),
        (3599.7, "1 h 00 min"),
        (26 * 3600 + 180, "26 h 03 min"),
        (48 * 3600 - 10, "2 d 00 h"),
        (3 * 86400 + 2 * 3600, "3 d 02 h"),
    ],
)
def test_durations_stay_true_over_a_day(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("objective", "value", "text"),
    [
        ("latency_ms", 3.2149, "3.21 ms"),
        ("latency_ms", 0.51489, "0.515 ms"),
        ("latency_ms", 1234.5, "1234 ms"),
        ("macs", 12_400_000, "12.4 M"),
        ("param_count", 51_488, "0.0515 M"),
        ("param_count", 0, "0 M"),
    ],
)
def test_costs_have_three_digits_and_a_unit(objective: str, value: float, text: str) -> None:
    assert cost_text(objective, value) == text


def test_axis_and_values_share_the_unit() -> None:
    assert (cost_axis("macs"), cost_in_unit("macs", 5e6)) == ("macs, M", 5.0)
    assert (cost_axis("latency_ms"), cost_in_unit("latency_ms", 5.0)) == ("latency, ms", 5.0)


def test_huge_counts_are_rounded() -> None:
    assert count_text(65_536) == "65,536"
    assert count_text(31 * 10**23) == "3.1e+24"


def test_a_moment_is_said_to_the_minute() -> None:
    assert utc_text(datetime(2026, 5, 4, 3, 2, 59, tzinfo=UTC)) == "2026-05-04 03:02 UTC"


def test_columns_are_as_wide_as_their_widest_cell_and_end_without_blanks() -> None:
    table = text_table(("trial", "layout", ""), [("7", "conv x2", ""), ("12", "attention", "knee")], right=1)
    assert table.splitlines() == ["trial  layout", "    7  conv x2", "   12  attention  knee"]


def test_csv_leaves_what_is_not_known_empty() -> None:
    assert (
        csv_text(("trial", "top1"), [{"trial": 0, "top1": 0.5}, {"trial": 1, "top1": None}])
        == "trial,top1\n0,0.5\n1,\n"
    )


def test_equal_values_have_one_hash_which_never_changes() -> None:
    expected = "4100d84bc3f7444eff7eb87d6a8862a54770e855528e065194226b3a96b40b66"
    assert json_hash({"b": [1, 2.5], "a": {"y": None, "x": "ü"}}) == json_hash(
        {"a": {"x": "ü", "y": None}, "b": [1, 2.5]}
    )
    assert json_hash({"b": [1, 2.5], "a": "ü"}) == expected


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("plain, größer, 数\nnext", "utf-8", "plain, größer, 数\nnext"),
        ("\x1b[31mred\x07\0\r", "utf-8", "\\x1b[31mred\\x07\\x00\\r"),
        ("\u202eevil\u2028\u200b\ufeff", "utf-8", "\\u202eevil\\u2028\\u200b\\ufeff"),
        ("half \udcff \ud800", "utf-8", "half \\udcff \\ud800"),
        ("ö数", "ascii", "\\xf6\\u6570"),
        ("ö数", "latin-1", "ö\\u6570"),
    ],
)
def test_a_foreign_text_cannot_steer_or_break_what_takes_it(text: str, encoding: str, expected: str) -> None:
    assert printable(text, encoding) == expected
