"""Waiting for other processes."""

import time
from collections.abc import Callable


def eventually(holds: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Look until it holds; the test fails if it does not in time."""
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.02)
