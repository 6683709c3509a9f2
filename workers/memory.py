"""Running out of memory: how it is recognised, whose fault it is, what is given back, and a second attempt."""

import ctypes
import gc
from collections.abc import Callable, Generator
from typing import TypeVar

import psutil
import torch

from nas.errors import first_line

FREE_SHARE = {"cuda": 0.9, "cpu": 0.5}
"""A device on which this much of the memory is free after our own clean-up counts as otherwise free."""
MICRO_BATCHES = 2
"""Parts of each batch in the second attempt of a training that ran out of memory."""
E = TypeVar("E")
R = TypeVar("R")
_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""glibc's call that gives the free pages of the heap back to the system. None with other C libraries."""
_mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
"""glibc's call that sets how memory is asked of the system. None with other C libraries."""
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_KEPT_BYTES = 2**30
"""Tensors up to this size come from memory that an earlier one of the process gave back."""


def is_out_of_memory(error: BaseException) -> bool:
    """True for the ways in which torch, CUDA's libraries and Python say that memory is used up."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        text in str(error) for text in ("DefaultCPUAllocator", "STATUS_ALLOC_FAILED", "out of memory")
    )


def keep_freed_memory() -> None:
    """Let this process use the memory of freed tensors again, until free_memory gives it back.

    glibc asks the system anew for every large tensor, which then clears the pages one by one: a fifth of the time of a
    training step whose maps have 30 MB. It does nothing with another C library.
    """
    if _mallopt is not None:
        _mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        _mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def is_otherwise_free(device: torch.device) -> bool:
    """Whether hardly anything but the memory of this process's idle state is in use."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
    else:
        memory = psutil.virtual_memory()
        free = memory.available
        total = memory.total
    return bool(free >= FREE_SHARE[device.type] * total)


def free_memory(device: torch.device) -> None:
    """Give back what the job held: models are reference cycles, and the next one needs the memory."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    # Without this a worker grows by 18 % over 200 nano trials, each with holes of other sizes
    # (docs/measurements/performance.md).
    if _malloc_trim is not None:
        _malloc_trim(0)


def within_memory(train: Callable[[int], Generator[E, bool, R]], device: torch.device) -> Generator[E, bool, R]:
    """Train with whole batches; where that runs out of memory on an otherwise free device, begin anew with batches in
    MICRO_BATCHES parts.

    Args:
        train: number of parts -> events of the training.

    Raises:
        OutOfMemoryError: if that does not help, or others use the device.
    """
    reason = ""
    for micro_batches in (1, MICRO_BATCHES):
        try:
            return (yield from train(micro_batches))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = first_line(error, "Python")  # whose own error says nothing
        free_memory(device)  # only here the traceback, and with it the model, is gone
        if not is_otherwise_free(device):
            break
    else:
        reason += f"; with each batch in {MICRO_BATCHES} parts too"
    raise torch.OutOfMemoryError(reason)
