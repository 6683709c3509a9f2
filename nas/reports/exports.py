"""What of a study stands in model zoos, as text."""

from collections.abc import Sequence

from nas.records import Export
from nas.text import utc_text


def exports_text(exports: Sequence[Export]) -> list[str]:
    """One line for each entry of a zoo, by the time of its last writing.

    Args:
        exports: every export of a study, oldest first; a later one to the same path has replaced the entry.
    """
    latest: dict[str, Export] = {}
    for export in exports:
        latest.pop(export.path, None)
        latest[export.path] = export
    return [
        f"{export.name}, trial {export.trial_number}, {utc_text(export.exported)}, {export.path}"
        for export in latest.values()
    ]
