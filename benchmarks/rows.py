"""Row files: one JSON object a line, one line a measurement, so that a stopped run goes on where it was."""

import json
from pathlib import Path

from nas.records import JSON


def append_row(path: Path, row: JSON) -> None:
    """Add one row as a whole line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read_rows(path: Path) -> list[JSON]:
    """All rows; none where there is no file yet."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
