"""What the pool decides without Ray: whose fault a failure is, how it reads, how many workers there are."""

import os

import pytest
import torch
from ray.exceptions import ActorDiedError, GetTimeoutError, RayTaskError

from nas.errors import InvalidInputError
from nas.records import JSON
from workers import ray_pool
from workers.ray_pool import _describe, _difference, _machine_is_to_blame, _reason, default_gpus_per_worker, default_num_workers


@pytest.mark.parametrize(
    ("error", "machine"),
    [
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True),
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), True),
        (OSError(28, "No space left on device"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (InvalidInputError("spec without stages; see CUDA"), False),
        (ZeroDivisionError("division by zero"), False),
    ],
)
def test_whose_fault_a_failure_is(error: Exception, machine: bool) -> None:
    assert _machine_is_to_blame(error) is machine


def test_reasons_are_one_line() -> None:
    assert _describe(ValueError("first\n  second")) == "ValueError: first"
    assert _describe(MemoryError()) == "MemoryError"
    assert len(_describe(ValueError("x" * 10_000))) <= 500
    # The address is given because Ray would start itself to find it.
    assert _reason(RayTaskError("start", "a traceback", KeyError("gene"), ip="127.0.0.1")) == "KeyError: 'gene'"
    assert _reason(GetTimeoutError("long text")) == "no result in time"
    assert _reason(ActorDiedError()) == "ActorDiedError: The actor died unexpectedly before finishing this task."


def test_a_difference_names_what_differs() -> None:
    expected: JSON = {"device_name": "A", "batch": 1}
    assert _difference(expected, {"device_name": "B", "batch": 1}) == "device_name is 'B', expected 'A'"
    assert _difference(expected, None) == "device_name is None, expected 'A', batch is None, expected 1"


@pytest.mark.parametrize(("gpus", "workers", "share"), [(0, len(os.sched_getaffinity(0)), 0.0), (4, 4, 1.0)])
def test_defaults(gpus: int, workers: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert default_num_workers() == workers
    assert default_gpus_per_worker(workers) == share


@pytest.mark.parametrize(("gpus", "workers", "share"), [(1, 2, 0.5), (4, 2, 1.0), (2, 3, 0.5)])
def test_shares_of_gpus_fit(gpus: int, workers: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that does not divide a GPU would leave a worker without a place: three thirds of two GPUs."""
    monkeypatch.setattr(ray_pool, "_num_gpus", lambda: gpus)
    assert default_gpus_per_worker(workers) == share
