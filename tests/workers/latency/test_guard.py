"""Who keeps the sampler off the processors."""

import contextlib

import pytest

from workers.latency.device_lock import DeviceLock
from workers.latency.guard import sampling_guard


@pytest.mark.parametrize("targets", [(None,), ("cuda:batch=1",), (None, "cuda:batch=1")])
def test_nothing_is_guarded_where_nothing_is_timed_on_the_cpu(targets: tuple[str | None, ...]) -> None:
    assert sampling_guard(targets) is contextlib.nullcontext


@pytest.mark.parametrize("targets", [("cpu:threads=1",), ("cuda:batch=1", "onnxruntime:threads=2")])
def test_the_sampler_holds_the_lock_of_the_cpu_shared(targets: tuple[str, ...]) -> None:
    guard = sampling_guard(targets)
    assert guard.__func__ is DeviceLock.shared
    assert guard.__self__.identity == "cpu"
