"""Keep the sampler off the processors while something is timed there."""

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from workers.latency.device_lock import DeviceLock, device_identity


def sampling_guard(targets: Iterable[str | None]) -> Callable[[], AbstractContextManager[object]]:
    """What a search enters while its sampler computes, so that nothing is timed on the CPU meanwhile.

    Args:
        targets: texts of the search's latency targets; None stands for none.
    """
    if all(target is None or target.startswith("cuda") for target in targets):
        return contextlib.nullcontext
    return DeviceLock(device_identity("cpu")).shared
