"""Whose fault a failure is, and how it reads."""

import pytest
import torch
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, OutOfMemoryError, RayTaskError

from nas.errors import InvalidInputError
from workers.cluster.failures import describe, machine_is_to_blame, reason_of

NODE_DIED = "the worker's node died or cannot be reached"


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
    assert machine_is_to_blame(error) is machine


def test_reasons_are_one_line() -> None:
    assert describe(ValueError("first\n  second")) == "ValueError: first"
    assert describe(MemoryError()) == "MemoryError"
    assert len(describe(ValueError("x" * 10_000))) <= 500
    # The address is given because Ray would start itself to find it.
    assert reason_of(RayTaskError("start", "a traceback", KeyError("gene"), ip="127.0.0.1")) == "KeyError: 'gene'"
    assert reason_of(GetTimeoutError("long text")) == "no result in time"
    assert reason_of(ActorUnavailableError("a trace\nof many lines", b"1" * 16)) == NODE_DIED
    assert reason_of(ActorDiedError()) == "ActorDiedError: The actor died unexpectedly before finishing this task."


def test_what_lacks_memory_comes_with_advice() -> None:
    said = (
        "1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 192.0.2.2) was "
        "23.15GB used / 23.54GB limit (0.983432)\nOOM kill reason: ..."
    )
    advice = "give fewer --workers, or a --recipe with smaller batches"
    assert reason_of(OutOfMemoryError(said)) == f"the host ran out of memory with 23.15GB in use; {advice}"
    assert reason_of(OutOfMemoryError("another text")) == f"the host ran out of memory; {advice}"
    died = ActorDiedError()
    died.error_msg = (
        "... Worker exit detail: Worker unexpectedly exits with a connection error code 2. Some common causes"
    )
    assert reason_of(died) == (
        "the worker process died (Worker unexpectedly exits with a connection error code 2.); if memory is short, "
        f"{advice}"
    )
