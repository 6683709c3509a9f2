"""The file in which a device without this project hands over its timings."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nas.errors import InvalidInputError
from nas.records import JSON, Latency
from nas.text import json_hash

KIND = "hybrid-nas device timings"
PROTOCOL = 1
"""Version of docs/reference/latency.md; a change after which timings can no longer be compared raises it."""
SHA256 = "sha256"
"""Hash of everything else in the file. It shows an accident or an edit, and proves no origin."""
FINGERPRINT = frozenset(
    {"kind", "threads", "batch", "dtype", "memory_format", "compile", "device_name", "runtime", "runtime_version"}
) | {"image_size"}
"""What a fingerprint of LatencyTarget consists of."""


@dataclass(frozen=True, slots=True)
class DeviceTiming:
    """One entry of a zoo, timed on one target."""

    entry: str
    """Name of the entry."""
    arch_hash: str
    """Identity of its architecture, 64 hex digits."""
    files: Mapping[str, str]
    """SHA-256 of the files that were run, by name."""
    latency: Latency


def timings_text(timings: list[DeviceTiming]) -> str:
    """The file: JSON with its own hash."""
    content: JSON = {"kind": KIND, "protocol": PROTOCOL, "timings": [asdict(timing) for timing in timings]}
    return json.dumps({**content, SHA256: json_hash(content)}, indent=2, allow_nan=False) + "\n"


def read_timings(file: Path) -> list[DeviceTiming]:
    """What a device wrote.

    Raises:
        InvalidInputError: if the file cannot be read, is no such file, is of another protocol, or was changed.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be read ({error.strerror}); give what a device wrote") from error
    except (ValueError, RecursionError) as error:
        raise _refused(file, f"it is no JSON ({error})") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise _refused(file, f"its kind is not {KIND!r}")
    if content.get("protocol") != PROTOCOL:
        raise _refused(
            file, f"it was timed by protocol {content.get('protocol')!r}, and this version compares protocol {PROTOCOL}"
        )
    recorded = content.pop(SHA256, None)
    if recorded != json_hash(content):
        raise _refused(file, "it was changed after the device wrote it: its SHA-256 is another")
    try:
        return [_timing(each) for each in content["timings"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _refused(file, f"a timing in it is not complete ({error})") from error


def _refused(file: Path, problem: str) -> InvalidInputError:
    return InvalidInputError(
        f"{file}: {problem}; expected the file that a bundle wrote on the device: copy it again, or time again with a "
        "bundle of this version"
    )


def _timing(given: dict[str, Any]) -> DeviceTiming:
    latency = given["latency"]
    missing = {field.name for field in fields(Latency)} - latency.keys()
    if missing or not latency["target"].keys() >= FINGERPRINT:
        raise ValueError("it lacks a part of the latency or of its fingerprint")
    numbers = [latency[name] for name in ("ci_low_ms", "median_ms", "ci_high_ms")]
    if not all(map(math.isfinite, numbers)) or sorted(numbers) != numbers or numbers[0] <= 0 or latency["samples"] < 1:
        raise ValueError(f"its latency is {numbers}, expected positive numbers in order")
    return DeviceTiming(str(given["entry"]), str(given["arch_hash"]), dict(given["files"]), Latency(**latency))
