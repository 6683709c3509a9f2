"""Out of memory: what it looks like, the second attempt, and what goes back to the system."""

from collections.abc import Generator

import psutil
import pytest
import torch

from workers.memory import FREE_SHARE, free_memory, is_out_of_memory, within_memory


def test_what_out_of_memory_looks_like() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def training(parts: int) -> Generator[str, bool, str]:
    """One that needs its batches in two parts."""
    yield f"begun in {parts}"
    if parts == 1:
        raise MemoryError
    return "weights"


@pytest.mark.parametrize("free", [True, False])
def test_a_second_attempt_is_made_on_a_device_that_is_otherwise_free(
    free: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FREE_SHARE, "cpu", 0.0 if free else 2.0)
    events = within_memory(training, torch.device("cpu"))
    assert next(events) == "begun in 1"
    if not free:
        with pytest.raises(torch.OutOfMemoryError, match=r"^Python$"):
            next(events)
        return
    assert next(events) == "begun in 2"
    with pytest.raises(StopIteration, match="weights"):
        next(events)


def test_a_training_that_runs_out_in_parts_too_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(parts: int) -> Generator[str, bool, None]:
        yield f"begun in {parts}"
        raise RuntimeError("CUDA out of memory\nwith details")

    monkeypatch.setitem(FREE_SHARE, "cpu", 0.0)
    with pytest.raises(torch.OutOfMemoryError, match=r"^CUDA out of memory; with each batch in 2 parts too$"):
        list(within_memory(greedy, torch.device("cpu")))


def test_memory_between_what_stays_goes_back_to_the_system() -> None:
    """Else a worker grows with every architecture of other sizes than those before."""
    process = psutil.Process()
    kept = []
    freed = []
    for _ in range(3_000):
        freed.append(torch.ones(16_000))  # 64 kB: from the heap, not from pages of its own
        kept.append(torch.ones(16))
    full = process.memory_info().rss
    freed.clear()
    free_memory(torch.device("cpu"))
    assert full - process.memory_info().rss > 150e6
    assert len(kept) == 3_000
