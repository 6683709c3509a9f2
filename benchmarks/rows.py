"""Row files: one JSON object a line, one line a measurement, so that a stopped run goes on where it was."""

import fcntl
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

from nas.errors import InvalidInputError
from nas.records import JSON


def append_row(path: Path, row: JSON) -> None:
    """Add one row as a whole line; several processes may do so. What a killed one left of a line goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
        file.write(json.dumps(row).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path) -> list[JSON]:
    """All whole rows; none where there is no file yet.

    Raises:
        InvalidInputError: if a line is no row.
    """
    if not path.exists():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise _no_row(path, number) from error
        if not isinstance(row, dict):
            raise _no_row(path, number)
        rows.append(row)
    return rows


def spread_text(values: Sequence[float]) -> str:
    """Mean and standard deviation, as tables show what several seeds gave."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.3f} (one seed)"
    return f"{statistics.mean(values):.3f} ({statistics.stdev(values):.3f})"


def _no_row(path: Path, number: int) -> InvalidInputError:
    return InvalidInputError(f"line {number} of {path} is no row; expected a JSON object: remove the line")
