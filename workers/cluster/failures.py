"""What a failure on a worker means, and how it reads."""

from ray.exceptions import ActorUnavailableError, GetTimeoutError, OutOfMemoryError, RayError, RayTaskError

MEMORY_ADVICE = "give fewer --workers, or a --recipe with smaller batches"

_NODE_DIED = ("its node has died", "Owner's node has crashed")
"""What Ray says of an actor whose node is gone."""


def machine_is_to_blame(error: Exception) -> bool:
    """Whether the same job may succeed on another worker: errors of the system, and CUDA's, which torch raises as
    RuntimeErrors."""
    cuda = isinstance(error, RuntimeError) and any(library in str(error) for library in ("CUDA", "cuDNN", "CUBLAS"))
    return cuda or isinstance(error, OSError | MemoryError)


def describe(error: BaseException) -> str:
    """One line for a database row and a terminal."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}"[:500] if lines else type(error).__name__


def reason_of(error: RayError) -> str:
    """What happened to a worker, in one line."""
    if isinstance(error, RayTaskError):
        return describe(error.cause)
    if isinstance(error, GetTimeoutError):
        return "no result in time"
    if isinstance(error, OutOfMemoryError):
        used = str(error).partition(" was ")[2].partition(" used ")[0]
        return f"the host ran out of memory{f' with {used} in use' if used else ''}; {MEMORY_ADVICE}"
    if isinstance(error, ActorUnavailableError) or any(words in str(error) for words in _NODE_DIED):
        return "the worker's node died or cannot be reached"
    detail = str(error).partition("Worker exit detail: ")[2].partition(" Some common causes")[0].partition("\n")[0]
    if "unexpectedly" in detail:  # the kernel, which ends what takes too much memory, tells nobody why
        return f"the worker process died ({detail}); if memory is short, {MEMORY_ADVICE}"
    return f"the worker process died ({detail})" if detail else describe(error)
