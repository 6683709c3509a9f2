"""One timing, alone on its device, whatever runs the network: the protocol without a runtime.

Needs Python alone, so a device with onnxruntime and without torch times by it too.
"""

import gc
import hashlib
import json
import math
import os
import resource
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from nas.records import JSON, Latency
from workers.latency.device_lock import DeviceLock
from workers.latency.pace import PaceHistory, repeatable_interval
from workers.latency.sampling import Clock, Forward, Sample, Timer, sit

try:
    import psutil
except ImportError:  # a device that has a runtime and nothing of ours
    psutil = None

MIN_CPU_SAMPLE_S = 1e-3
"""Shortest duration of one sample on a CPU, whose clock reads to 0.1 us."""


def time_alone(
    prepare: Callable[[], tuple[Forward, Forward]],
    clock: Clock,
    lock: DeviceLock,
    *,
    reference: list[Any],
    fingerprint: JSON,
    observe: Callable[[], JSON],
) -> Latency:
    """Prepare beside others, then time alone.

    Args:
        prepare: gives one pass of the network and one of the reference, both warm.
        clock: read for both.
        lock: of the device; this thread must not hold it. The history of the device's pace lies beside it.
        reference: what makes timings of the reference comparable.
        fingerprint: of the target.
        observe: gives conditions of the device right after the timing, beside those of the host.

    Returns:
        Milliseconds per batch, with the interval in which another sitting would find the median.
    """
    with lock.shared():
        forward, beside = prepare()
        gc.collect()
    with lock.exclusive() as waited_s, _no_collection():
        observer = _Observer()
        sitting = sit(forward, beside, clock)
        observed = {**observer.conditions(), **observe()}
        history = PaceHistory(lock.notes / f"{lock.stem}-pace-{_digest(reference)}.json")
        history.note(statistics.median(sitting.reference_s))
    low, high = repeatable_interval(sitting.median_s, sitting.interval_s, history.spread)
    spread = {"pace_spread": history.spread, "pace_timings": len(history)}
    return Latency(
        target=fingerprint,
        conditions={**observed, **sitting.conditions(), **spread, "waited_s": waited_s},
        median_ms=sitting.median_s * 1e3,
        ci_low_ms=low * 1e3,
        ci_high_ms=high * 1e3,
        p95_ms=sitting.seconds[math.ceil(0.95 * len(sitting.seconds)) - 1] * 1e3,
        samples=len(sitting.seconds),
    )


def _digest(settings: list[Any]) -> str:
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]


def cpu_timer(threads: int | None) -> Timer:
    """Reads the monotonic clock, and how often the kernel meanwhile gave the core to others."""
    # With one thread the others of the process do not matter; with several, any of them may be one of the operator's.
    who = resource.RUSAGE_THREAD if threads == 1 and hasattr(resource, "RUSAGE_THREAD") else resource.RUSAGE_SELF

    def time_cpu(forward: Forward, passes: int) -> Sample:
        preemptions = resource.getrusage(who).ru_nivcsw
        start = time.perf_counter_ns()
        for _ in range(passes):
            forward()
        seconds = (time.perf_counter_ns() - start) / passes / 1e9
        return Sample(seconds, resource.getrusage(who).ru_nivcsw - preemptions)

    return time_cpu


@contextmanager
def _no_collection() -> Iterator[None]:
    """A garbage collection in the middle of a sample would be counted as the model's."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Observer:
    """What goes on beside a timing, from its construction to `conditions`."""

    def __init__(self) -> None:
        self._load = os.getloadavg()[0]
        self._start = (time.monotonic(), _busy_s(), time.process_time())

    def conditions(self) -> JSON:
        elapsed_s, busy_s, own_s = (
            now - then
            for now, then in zip((time.monotonic(), _busy_s(), time.process_time()), self._start, strict=True)
        )
        return {
            "host": socket.gethostname(),
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "exclusive_s": elapsed_s,
            "load_average_1min": self._load,
            "other_busy_cores": None if psutil is None else max(0.0, (busy_s - own_s) / elapsed_s),
            "cpu_mhz": _cpu_mhz(),
        }


def _cpu_mhz() -> float | None:
    """None where the system does not tell: psutil is missing, has nothing, no such function, or an error of the
    system's."""
    try:
        frequency = psutil.cpu_freq()
    except (AttributeError, NotImplementedError, OSError, RuntimeError):
        return None
    return float(frequency.current) if frequency else None


def _busy_s() -> float:
    """Processor time of the whole host since its start, over all cores; 0 without psutil."""
    if psutil is None:
        return 0.0
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))
