"""What `status` says of a study's entries in model zoos."""

from datetime import UTC, datetime, timedelta

from nas.records import Export
from nas.reports.exports import exports_text

MOMENT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def test_each_entry_has_one_line_by_its_last_writing() -> None:
    exports = [
        Export(3, "winner", "/zoo/winner", MOMENT),
        Export(2, "small", "/zoo/small", MOMENT + timedelta(hours=1)),
        Export(5, "winner", "/zoo/winner", MOMENT + timedelta(hours=2)),
    ]
    assert exports_text(exports) == [
        "small, trial 2, 2026-05-04 04:02 UTC, /zoo/small",
        "winner, trial 5, 2026-05-04 05:02 UTC, /zoo/winner",
    ]
    assert exports_text([]) == []
