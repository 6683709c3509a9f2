"""Which device a worker trains on, and how many workers a host carries: decided here and nowhere else."""

import math
import os
from typing import TYPE_CHECKING

from nas.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

GPU = "cuda:0"
"""The first GPU that a process sees. Ray shows each worker its own."""
CPU = "cpu"


def num_gpus() -> int:
    """GPUs that torch sees on this host."""
    import torch  # here, because it takes a second and who counts cores does not need it

    return torch.cuda.device_count()


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def default_num_workers() -> int:
    """One per GPU, else one per core that this process may use."""
    return num_gpus() or num_cores()


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
