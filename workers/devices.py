"""Which device a worker trains on, and how many workers a host carries: decided here and nowhere else."""

import math
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

GPU = "cuda:0"
"""The first GPU that a process sees. Ray shows each worker its own."""
CPU = "cpu"
WORKER_BYTES = 2**29
"""Memory without which no worker trains anything; with digits and nano networks it takes twice that
(docs/measurements/performance.md)."""
MIN_SHARE = 0.01
"""Smallest share of a GPU that a worker may have."""
_GPU_DRIVERS = "/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/nvmap"
"""What Linux has where there is a GPU for torch: NVIDIA's driver, that of Windows below it, AMD's, and Jetson's."""
_MEMORY_LIMITS = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where a container says how much memory it may use: the second and the first version of Linux's control groups."""


def num_gpus() -> int:
    """GPUs that torch sees on this host."""
    if "torch" not in sys.modules and sys.platform == "linux" and not any(map(os.path.exists, _GPU_DRIVERS)):
        return 0
    import torch  # here, because it takes seconds, and who has no driver of a GPU does not need it

    return torch.cuda.device_count()


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS binds no process to cores


def memory_bytes() -> int:
    """Memory of this host, or what a container may use of it."""
    import psutil  # here: a device that only times networks lacks it

    total = int(psutil.virtual_memory().total)
    for file in _MEMORY_LIMITS:
        with suppress(OSError, ValueError):  # a file that is not there, or "max"
            total = min(total, int(file.read_text()))
    return total


def default_num_workers() -> int:
    """One per GPU, else one per core that this process may use."""
    return num_gpus() or num_cores()


def fitting_workers(asked: int, gpus_per_worker: float) -> int:
    """How many of the workers that were asked for this host has room for.

    Without GPUs more workers than cores only wait for each other.

    Raises:
        InvalidInputError: if it has not the GPUs.
    """
    if gpus_per_worker:
        require_gpus(asked, gpus_per_worker)
        return asked
    return max(1, min(asked, num_cores(), memory_bytes() // WORKER_BYTES))


def room_text() -> str:
    """What `fitting_workers` goes by, for people."""
    return f"this host has {num_cores()} cores for us and {memory_bytes() / 2**30:.1f} GiB of memory"


def gpu_places(gpus: int, gpus_per_worker: float) -> int:
    """Workers that find a place on so many GPUs, none of which gives parts of two shares.

    Args:
        gpus_per_worker: above 0.
    """
    if gpus_per_worker >= 1:
        return gpus // int(gpus_per_worker)
    return gpus * int(1 / gpus_per_worker + 1e-6)  # three thirds make a whole


def require_gpus(num_workers: int, gpus_per_worker: float) -> None:
    """Refuse shares of GPUs that this host cannot give.

    Args:
        gpus_per_worker: above 0.

    Raises:
        InvalidInputError: if so many workers do not find a place, or no worker can have such a share.
    """
    if gpus_per_worker < MIN_SHARE or (gpus_per_worker > 1 and gpus_per_worker % 1):
        raise InvalidInputError(
            f"--gpus-per-worker is {gpus_per_worker:g}; expected 0, a share of one GPU from {MIN_SHARE} on, or a whole "
            "number of GPUs"
        )
    gpus = num_gpus()
    if gpu_places(gpus, gpus_per_worker) < num_workers:
        raise InvalidInputError(
            f"{num_workers} workers need {num_workers * gpus_per_worker:g} GPUs, and torch sees {gpus}, with room for "
            f"{gpu_places(gpus, gpus_per_worker)}; expected no more: fewer --workers, or a smaller --gpus-per-worker "
            "(0 trains on the CPU)"
        )


def default_gpus_per_worker(num_workers: int) -> float:
    """The largest share, at most a whole GPU, with which all workers find a place; 0 without a GPU."""
    gpus = num_gpus()
    return 1 / max(1, math.ceil(num_workers / gpus)) if gpus else 0.0


def device_of_worker(gpus_per_worker: float) -> str:
    """Where a worker with this share of a GPU trains: on the GPU that it sees, or with none on the CPU."""
    return GPU if gpus_per_worker else CPU


def device_as_recorded(kind: str) -> str:
    """Where a study's training is repeated: on a GPU if the study trained on one and one is here, else on the CPU.

    Args:
        kind: "cuda" or "cpu", as a study records it.
    """
    return GPU if kind == "cuda" and num_gpus() else CPU


def num_processes(device: str) -> int:
    """Trainings at a time without Ray: one per GPU, or on the CPU one per core."""
    return num_gpus() if device == GPU else num_cores()


def fitting_processes(asked: int | None, device: str) -> int:
    """How many trainings at a time without Ray this host has room for.

    Args:
        asked: None for as many as num_processes.
        device: GPU or CPU.
    """
    wanted = num_processes(device) if asked is None else asked
    return wanted if device == GPU else fitting_workers(wanted, 0.0)


def device_of_process(device: str, place: int) -> str:
    """The device of one of several processes that all see every GPU: they take turns.

    Args:
        device: GPU or CPU.
        place: number of the process, from 0.
    """
    return f"cuda:{place % num_gpus()}" if device == GPU else device


def open_device(text: str) -> "torch.device":
    """A device on which a model can be trained.

    Args:
        text: cpu, or cuda:N.

    Raises:
        InvalidInputError: if it is unknown, not there, or of another kind.
    """
    import torch

    expected = "expected cpu, or cuda:N for a GPU that torch sees"
    try:
        device = torch.device(text)
    except RuntimeError as error:
        raise InvalidInputError(f"device {text!r} is unknown; {expected}") from error
    if device.type == "cuda" and not (device.index or 0) < num_gpus():
        raise InvalidInputError(f"device {text!r} is not there: torch sees {num_gpus()} GPUs; {expected}")
    if device.type not in ("cpu", "cuda"):
        raise InvalidInputError(f"device {text!r} cannot be used for training; {expected}")
    return device
