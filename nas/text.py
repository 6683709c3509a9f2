"""Numbers, moments, tables and foreign texts as people read them; and the hash of a value as JSON."""

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from nas.records import JSON, Latency

_COSTS = {"latency_ms": ("latency", "ms", 1.0), "macs": ("macs", "M", 1e6), "param_count": ("params", "M", 1e6)}
"""Cost objective -> name for people, unit, value of the unit."""


def cost_axis(objective: str) -> str:
    """Name and unit of a cost objective: "latency, ms"."""
    name, unit, _ = _COSTS[objective]
    return f"{name}, {unit}"


def cost_in_unit(objective: str, value: float) -> float:
    """A cost in the unit of `cost_axis`: milliseconds, or millions."""
    return value / _COSTS[objective][2]


def cost_text(objective: str, value: float, *, unit: bool = True) -> str:
    """A cost with three significant digits: "3.21 ms", "12.4 M"."""
    scaled = cost_in_unit(objective, value)
    digits = max(0, 2 - math.floor(math.log10(scaled))) if scaled > 0 else 0
    return f"{scaled:.{digits}f}" + (f" {_COSTS[objective][1]}" if unit else "")


def latency_text(timing: Latency) -> str:
    """The median and its interval: "1.20 ms (1.15 - 1.25)"."""
    low, high = (cost_text("latency_ms", bound, unit=False) for bound in (timing.ci_low_ms, timing.ci_high_ms))
    return f"{cost_text('latency_ms', timing.median_ms)} ({low} - {high})"


def duration_text(seconds: float) -> str:
    """A duration in its two largest units: "45 s", "12 min 05 s", "26 h 03 min", "3 d 02 h"; days from the second day's
    end on."""
    total_s = round(seconds)
    if total_s < 60:
        return f"{total_s} s"
    if total_s < 3600:
        return f"{total_s // 60} min {total_s % 60:02} s"
    total_min = round(seconds / 60)
    if total_min < 48 * 60:
        return f"{total_min // 60} h {total_min % 60:02} min"
    total_h = round(seconds / 3600)
    return f"{total_h // 24} d {total_h % 24:02} h"


def memory_text(micro_batches: int) -> str:
    """To be appended to what is said about a training; nothing where memory did for whole batches."""
    return "" if micro_batches == 1 else f", each batch in {micro_batches} parts for lack of memory"


def count_text(count: int) -> str:
    """A count that may be huge: "65,536" or "3.1e+24"."""
    return f"{count:,}" if count < 10**9 else f"{count:.1e}"


def workers_text(count: int) -> str:
    """ "1 worker", "2 workers"."""
    return f"{count} worker" if count == 1 else f"{count} workers"


def utc_text(moment: datetime) -> str:
    """A moment in UTC to the minute: "2026-05-04 03:02 UTC"."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def printable(text: str, encoding: str = "utf-8") -> str:
    """A text from outside as any stream, file and database takes it.

    What is unprintable stands as its escape, as \\x1b or \\u202e, and so does what the encoding lacks: controls, marks
    that turn the direction of writing, halves of characters. Line ends stay.
    """
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() or sign == "\n" else _escape(sign) for sign in text)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def json_text(content: object) -> str:
    """What JSON can hold, as people read it; NaN and infinity raise ValueError."""
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]], right: int) -> str:
    """Columns two spaces apart, without trailing blanks; the first `right` of them right-aligned."""
    lines = [tuple(header), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = []
    for line in lines:
        cells = [
            cell.rjust(width) if column < right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        texts.append("  ".join(cells).rstrip())
    return "\n".join(texts)


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """CSV with a header line; None is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def json_hash(value: JSON) -> str:
    """SHA-256 (64 hex digits) of the canonical JSON: sorted keys, no blanks. Equal values have equal hashes.

    Architectures, spaces, recipes and what the database compares are identified by it, so it never changes.
    """
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
