"""Row files outlive a kill, and say where they are damaged."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.rows import append_row, read_rows
from nas.errors import InvalidInputError


def test_half_a_line_of_a_killed_process_goes(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_row(path, {"number": 0})
    with path.open("a") as file:
        file.write('{"number": 1, "top')
    assert read_rows(path) == [{"number": 0}]
    append_row(path, {"number": 2})
    assert read_rows(path) == [{"number": 0}, {"number": 2}]


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: append_row(path, {"number": number}), range(100)))
    assert sorted(row["number"] for row in read_rows(path)) == list(range(100))


@pytest.mark.parametrize("line", ['{"number": 1, "top', "[1]", ""])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"number": 0}}\n{line}\n{{"number": 2}}\n')
    with pytest.raises(InvalidInputError, match=r"line 2 of .*rows.jsonl is no row; expected a JSON object"):
        read_rows(path)
