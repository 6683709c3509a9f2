"""Measure the latency of one model on one target, alone on its device.

The protocol: copy the model in the target's number and memory format and compile it if asked (beside others: lock
shared); then, alone (lock exclusive), take turns with a small reference model, each sample of as many forward passes as
the clock needs, until the median is sharp (workers/latency/sampling.py). What is reported is that median, the interval
in which another sitting would find it (workers/latency/pace.py), and the 95th percentile. docs/reference/latency.md
has reasons.
"""

import copy
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from nas.records import JSON, Latency
from workers.latency.alone import MIN_CPU_SAMPLE_S, cpu_timer, time_alone
from workers.latency.device_lock import DeviceLock
from workers.latency.sampling import Clock, Forward, Sample, Timer
from workers.latency.target import LatencyTarget
from workers.processes import environment

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
MIN_SAMPLE_S = {"cpu": MIN_CPU_SAMPLE_S, "onnxruntime": MIN_CPU_SAMPLE_S, "cuda": 10e-3}
"""Shortest duration of one sample. A CPU clock reads to 0.1 us; on a GPU the launch of the first kernel must vanish in
the sample."""
REFERENCE_SHAPE = (3, 32, 32)
REFERENCE_BATCH = {"cpu": 1, "cuda": 64}


def measure(model: nn.Module, target: LatencyTarget, input_shape: tuple[int, int, int], lock: DeviceLock) -> Latency:
    """Time the forward pass of `model` in evaluation mode; the model itself is left as it was.

    Args:
        model: maps (batch, channels, height, width) images to anything.
        target: device, batch, number format and so on.
        input_shape: (channels, height, width) of one image.
        lock: of the target's device; this thread must not hold it. The history of the device's pace lies beside it.

    Returns:
        Milliseconds per batch. `target` is the target's fingerprint; `conditions` holds what was observed beside the
        timing.

    Raises:
        torch.OutOfMemoryError: if model and batch do not fit on the device.
        NasError: if the target is onnxruntime and its file gives other logits than the model.
    """
    clock = Clock(_TIMERS[target.kind](target), MIN_SAMPLE_S[target.kind])

    def prepare() -> tuple[Forward, Forward]:
        return _prepare(model, target, input_shape), _prepare_reference(target)

    with _threads(target.threads), torch.inference_mode(), _fastest_kernels(target):
        try:
            return time_alone(
                prepare,
                clock,
                lock,
                reference=[target.device.type, target.threads, target.dtype, torch.__version__],
                fingerprint=target.fingerprint(input_shape),
                observe=partial(_gpu_conditions, target) if target.kind == "cuda" else dict,
            )
        finally:
            if target.compile:
                torch.compiler.reset()  # a worker lives for many models; compiled code is kept per process


def _prepare(model: nn.Module, target: LatencyTarget, input_shape: tuple[int, int, int]) -> Forward:
    """A call that runs one batch on the target; the first, slow pass (allocation, kernel choice, compilation) is
    done."""
    if target.kind == "onnxruntime":
        from workers.latency.onnx_session import open_session  # it writes ONNX files, which no other target needs

        return open_session(model, target, input_shape)
    device = target.device
    dtype = DTYPES[target.dtype]
    memory_format = MEMORY_FORMATS[target.memory_format]
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


def _prepare_reference(target: LatencyTarget) -> Forward:
    """A small network that never changes: what it takes tells the pace of the device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1, groups=64),
            nn.Conv2d(64, 128, 1),
            nn.GELU(),
            nn.Conv2d(128, 64, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, 10),
        )
    network = network.eval().to(target.device, DTYPES[target.dtype])
    images = torch.zeros(
        REFERENCE_BATCH[target.device.type], *REFERENCE_SHAPE, device=target.device, dtype=DTYPES[target.dtype]
    )
    return lambda: network(images)


def _cuda_timer(_: LatencyTarget) -> Timer:
    def time_cuda(forward: Forward, passes: int) -> Sample:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        for _ in range(passes):
            forward()
        end.record()
        end.synchronize()
        return Sample(float(start.elapsed_time(end)) / passes / 1e3)

    return time_cuda


_TIMERS: dict[str, Callable[[LatencyTarget], Timer]] = {
    "cpu": lambda target: cpu_timer(target.threads),
    "onnxruntime": lambda target: cpu_timer(target.threads),
    "cuda": _cuda_timer,
}


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
    """Let cuDNN choose its convolutions by trial, as a deployment with fixed shapes would; and launch on the target's
    GPU."""
    if target.kind != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=True), torch.cuda.device(target.device):
        yield


def _gpu_conditions(target: LatencyTarget) -> JSON:
    """Clocks, temperature, power and throttling right after the timing, from nvidia-smi; empty where it is missing or
    fails."""
    fields = ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw", "clocks_throttle_reasons.active")
    if shutil.which("nvidia-smi") is None:
        return {}
    uuid = torch.cuda.get_device_properties(target.device).uuid
    command = ["nvidia-smi", f"--id=GPU-{uuid}", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        with environment():
            answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (subprocess.SubprocessError, OSError):
        return {}
    return dict(
        zip(
            ("gpu_sm_mhz", "gpu_memory_mhz", "gpu_celsius", "gpu_watt", "gpu_throttle_reasons"),
            answer.strip().split(", "),
            strict=False,
        )
    )
