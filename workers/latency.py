"""Measure the latency of one model on one target, alone on its device.

The protocol: copy the model in the target's number and memory format and compile it if asked (beside others: lock shared); then, alone
(lock exclusive), run it until its pace is stable and take samples, each of as many forward passes as the clock needs. What is reported is
the median over the samples with a distribution-free confidence interval, and the 95th percentile. docs/latency.md has reasons and results.
"""

import copy
import gc
import math
import os
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil
import torch
from torch import nn

from nas.records import JSON, Latency
from workers.device_lock import DeviceLock
from workers.target import DTYPES, MEMORY_FORMATS, LatencyTarget

MIN_SAMPLES = 30
"""An interval of the median needs some: with 30 samples it spans the 10th to the 21st."""
MAX_SAMPLES = 200
SAMPLING_S = 0.25
"""Intended duration of all samples together; a slow model takes longer, because MIN_SAMPLES comes first."""
MIN_SAMPLE_S = {"cpu": 1e-3, "cuda": 10e-3}
"""Shortest duration of one sample. A CPU clock reads to 0.1 us; on a GPU the launch of the first kernel must vanish in the sample."""
WARMUP_WINDOW = 5
"""Forward passes per window; the pace is stable when the medians of two consecutive windows differ by less than WARMUP_TOLERANCE."""
WARMUP_TOLERANCE = 0.05
WARMUP_S = 1.0
"""A pace that is not stable by then is measured nevertheless, and the conditions say so."""

Forward = Callable[[], object]
Timer = Callable[[Forward, int], float]
"""(forward, passes) -> seconds per pass."""


def measure(model: nn.Module, target: LatencyTarget, input_shape: tuple[int, int, int], lock: DeviceLock) -> Latency:
    """Time the forward pass of `model` in evaluation mode; the model itself is left as it was.

    Args:
        model: maps (batch, channels, height, width) images to anything.
        target: device, batch, number format and so on.
        input_shape: (channels, height, width) of one image.
        lock: of the target's device; this thread must not hold it.

    Returns:
        Milliseconds per batch. `target` is the target's fingerprint; `conditions` holds what was observed beside the timing.

    Raises:
        torch.OutOfMemoryError: if model and batch do not fit on the device.
    """
    with _threads(target.threads), torch.inference_mode(), _fastest_kernels(target):
        try:
            with lock.shared():
                forward = _prepare(model, target, input_shape)
            with lock.exclusive() as waited_s, _no_collection():
                observer = _Observer(target)
                pace = _warm_up(forward, _TIMERS[target.kind])
                passes = max(1, math.ceil(MIN_SAMPLE_S[target.kind] / pace.forward_s))
                count = min(max(MIN_SAMPLES, int(SAMPLING_S / (passes * pace.forward_s))), MAX_SAMPLES)
                seconds = sorted(_TIMERS[target.kind](forward, passes) for _ in range(count))
                observed = observer.conditions()
        finally:
            if target.compile:
                torch.compiler.reset()  # a worker lives for many models; compiled code is kept per process
    low, high = median_interval(seconds)
    return Latency(
        target=target.fingerprint(input_shape),
        conditions={**observed, **pace.conditions(), "passes_per_sample": passes, "waited_s": waited_s, "min_ms": seconds[0] * 1e3},
        median_ms=statistics.median(seconds) * 1e3,
        ci_low_ms=low * 1e3,
        ci_high_ms=high * 1e3,
        p95_ms=seconds[math.ceil(0.95 * count) - 1] * 1e3,
        samples=count,
    )


def median_interval(ordered: list[float], confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the median, whatever the distribution of the independent samples.

    The number of samples below the median is binomial(n, 1/2), so the k-th smallest and the k-th largest enclose it with probability
    1 - 2 P(B < k); the largest such k is taken. With fewer than six samples no pair reaches 95 %, and the range is returned.

    Args:
        ordered: the samples, ascending, at least one.

    Source: David & Nagaraja, "Order Statistics", 3rd edition, section 7.1.
    """
    n = len(ordered)
    below, rank = 2.0**-n, 1  # P(B < rank)
    while below + math.comb(n, rank) * 2.0**-n <= (1 - confidence) / 2:
        below += math.comb(n, rank) * 2.0**-n
        rank += 1
    return ordered[rank - 1], ordered[n - rank]


def _prepare(model: nn.Module, target: LatencyTarget, input_shape: tuple[int, int, int]) -> Forward:
    """A call that runs one batch on the target; the first, slow pass (allocation, kernel choice, compilation) is done."""
    device, dtype, memory_format = target.device, DTYPES[target.dtype], MEMORY_FORMATS[target.memory_format]
    # Two calls, because Module.to takes a memory format alone only.
    copied = copy.deepcopy(model).eval().requires_grad_(False).to(device, dtype).to(memory_format=memory_format)
    # A generator of its own: the global one belongs to the training that follows.
    images = torch.randn(target.batch, *input_shape, generator=torch.Generator().manual_seed(0))
    images = images.to(device, dtype, memory_format=memory_format)
    network = torch.compile(copied, mode=target.compile) if target.compile else copied

    def forward() -> object:
        return network(images)

    forward()
    return forward


@dataclass(frozen=True, slots=True)
class _Pace:
    forward_s: float
    passes: int
    stable: bool

    def conditions(self) -> JSON:
        return {"warmup_passes": self.passes, "warmup_stable": self.stable}


def _warm_up(forward: Forward, timer: Timer) -> _Pace:
    """Run until two consecutive windows take about the same time, or WARMUP_S have passed."""
    deadline = time.monotonic() + WARMUP_S
    previous, passes = math.inf, 0
    while True:
        median = max(statistics.median(timer(forward, 1) for _ in range(WARMUP_WINDOW)), 1e-9)
        passes += WARMUP_WINDOW
        stable = abs(median - previous) <= WARMUP_TOLERANCE * median
        if stable or time.monotonic() > deadline:
            return _Pace(median, passes, stable)
        previous = median


def _time_cpu(forward: Forward, passes: int) -> float:
    start = time.perf_counter_ns()
    for _ in range(passes):
        forward()
    return (time.perf_counter_ns() - start) / passes / 1e9


def _time_cuda(forward: Forward, passes: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    for _ in range(passes):
        forward()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / passes / 1e3


_TIMERS: dict[str, Timer] = {"cpu": _time_cpu, "cuda": _time_cuda}


@contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _fastest_kernels(target: LatencyTarget) -> Iterator[None]:
    """Let cuDNN choose its convolutions by trial, as a deployment with fixed shapes would; and launch on the target's GPU."""
    if target.kind == "cpu":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=True), torch.cuda.device(target.device):
        yield


@contextmanager
def _no_collection() -> Iterator[None]:
    """A garbage collection in the middle of a sample would be counted as the model's."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Observer:
    """What goes on beside a timing, from its construction to `conditions`."""

    def __init__(self, target: LatencyTarget) -> None:
        self._target = target
        self._load = os.getloadavg()[0]
        self._start = (time.monotonic(), _busy_s(), time.process_time())

    def conditions(self) -> JSON:
        elapsed_s, busy_s, own_s = (
            now - then for now, then in zip((time.monotonic(), _busy_s(), time.process_time()), self._start, strict=True)
        )
        frequency = psutil.cpu_freq()
        return {
            "host": socket.gethostname(),
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "exclusive_s": elapsed_s,
            "load_average_1min": self._load,
            "other_busy_cores": max(0.0, (busy_s - own_s) / elapsed_s),
            "cpu_mhz": frequency.current if frequency else None,
            **(_gpu_conditions(self._target) if self._target.kind == "cuda" else {}),
        }


def _busy_s() -> float:
    """Processor time of the whole host since its start, over all cores."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))


def _gpu_conditions(target: LatencyTarget) -> JSON:
    """Clocks, temperature, power and throttling right after the timing, from nvidia-smi; empty where it is missing or fails."""
    fields = ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw", "clocks_throttle_reasons.active")
    if shutil.which("nvidia-smi") is None:
        return {}
    uuid = torch.cuda.get_device_properties(target.device).uuid
    command = ["nvidia-smi", f"--id=GPU-{uuid}", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (subprocess.SubprocessError, OSError):
        return {}
    return dict(
        zip(("gpu_sm_mhz", "gpu_memory_mhz", "gpu_celsius", "gpu_watt", "gpu_throttle_reasons"), answer.strip().split(", "), strict=False)
    )
