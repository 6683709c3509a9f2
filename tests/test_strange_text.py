"""A part of what `python -m tests.strange_text` tries, and that it would notice a fault."""

import pytest

from tests.strange_text import Case, draw, faults, report, work_folder


@pytest.mark.slow
def test_strange_paths_names_and_urls_work_or_are_one_line() -> None:
    assert report(seed=0, count=48) == []


def test_a_seed_stands_for_its_cases() -> None:
    with work_folder() as work:
        assert draw(3, 100, work) == draw(3, 100, work) != draw(4, 100, work)


@pytest.mark.parametrize(
    ("code", "printed", "new", "expected"),
    [
        (2, "error: a line\n", set(), []),
        (0, "", {"/work/asked"}, []),
        (2, "error: a line\nand another\n", set(), ["not one line"]),
        (1, "Traceback (most recent call last):\n", set(), ["a traceback"]),
        (-1, "", set(), ["exit code -1"]),
        (0, "\x1b[2J", set(), ["a sign that steers a terminal"]),
        (0, "", {"/work/other"}, ["left ['/work/other']"]),
        (2, "error: a line\n", {"/work/asked"}, ["left ['/work/asked']"]),
        (2, "error: postgresql://ada:s3cret@h/x\n", set(), ["the password"]),
    ],
)
def test_a_fault_is_noticed(code: int, printed: str, new: set[str], expected: list[str]) -> None:
    given = "postgresql://ada:s3cret@h/asked"
    assert faults(Case(["status", "--storage", given], given), code, printed, new) == expected
