"""The timing protocol, on models whose duration is known."""

import fcntl
import gc
import json
import math
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from workers.latency.alone import cpu_timer
from workers.latency.device_lock import DeviceLock
from workers.latency.measure import measure
from workers.latency.target import LatencyTarget

SHAPE = (3, 8, 8)


class Spin(nn.Module):
    """Computes for a given time, whatever the input; keeps what it saw in the list `seen`, which copies share."""

    def __init__(self, duration_s: float, seen: list[object] | None = None) -> None:
        super().__init__()
        self.duration_s = duration_s
        self.seen = _Shared() if seen is None else _Shared(seen)
        self.weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(
            (
                images.shape,
                images.dtype,
                self.training,
                torch.is_grad_enabled(),
                torch.get_num_threads(),
                gc.isenabled(),
            )
        )
        end = time.perf_counter() + self.duration_s
        while time.perf_counter() < end:
            pass
        return images


class _Shared(list[object]):
    def __deepcopy__(self, _: object) -> "_Shared":
        return self


@pytest.fixture
def lock(tmp_path: Path) -> DeviceLock:
    return DeviceLock("cpu", tmp_path)


@pytest.mark.parametrize("duration_ms", [0.05, 2.0])
def test_a_known_duration_is_found(duration_ms: float, lock: DeviceLock) -> None:
    found = measure(Spin(duration_ms / 1e3), LatencyTarget.parse("cpu"), SHAPE, lock)
    assert found.ci_low_ms < found.median_ms < found.ci_high_ms
    assert duration_ms <= found.median_ms
    assert found.median_ms <= found.p95_ms
    assert found.median_ms == pytest.approx(duration_ms, rel=0.5)
    assert found.samples >= 30
    assert found.conditions["passes_per_sample"] == pytest.approx(math.ceil(1 / duration_ms), rel=0.5)


def test_a_deeper_network_is_slower(lock: DeviceLock) -> None:
    def _network(depth: int) -> nn.Module:
        return nn.Sequential(*(nn.Conv2d(16, 16, 3, padding=1) for _ in range(depth)))

    target = LatencyTarget.parse("cpu")
    shallow, deep = (measure(_network(depth), target, (16, 32, 32), lock) for depth in (2, 8))
    assert shallow.ci_high_ms < deep.ci_low_ms


def test_the_forward_pass_sees_the_target(lock: DeviceLock) -> None:
    model = Spin(1e-4)
    before = (torch.get_num_threads(), gc.isenabled(), model.training)
    random_state = torch.get_rng_state()
    measure(model, LatencyTarget.parse("cpu:threads=2,batch=5,dtype=bf16"), SHAPE, lock)
    assert set(model.seen[1:]) == {((5, *SHAPE), torch.bfloat16, False, False, 2, False)}
    assert (torch.get_num_threads(), gc.isenabled(), model.training) == before
    assert model.weight.dtype == torch.float64, "the model itself must stay as it was"
    assert model.weight.requires_grad
    assert torch.equal(torch.get_rng_state(), random_state), "training that follows must not depend on the timing"


def test_everything_is_restored_after_an_error(lock: DeviceLock) -> None:
    class Broken(nn.Module):
        calls = 0

        def forward(self, images: Tensor) -> Tensor:
            Broken.calls += 1
            if Broken.calls > 3:
                raise RuntimeError("broken")
            return images

    before = (torch.get_num_threads(), gc.isenabled())
    with pytest.raises(RuntimeError, match="broken"):
        measure(Broken(), LatencyTarget.parse("cpu:threads=2"), SHAPE, lock)
    assert (torch.get_num_threads(), gc.isenabled()) == before
    with lock.exclusive() as waited_s:
        assert waited_s < 1


def test_samples_are_taken_under_the_exclusive_lock(tmp_path: Path, lock: DeviceLock) -> None:
    (path,) = tmp_path.glob("*.lock")

    class Probe(nn.Module):
        shared_fails: list[bool] = []  # noqa: RUF012 (shared by the copy on purpose)

        def forward(self, images: Tensor) -> Tensor:
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    self.shared_fails.append(False)
                except BlockingIOError:
                    self.shared_fails.append(True)
            time.sleep(1e-3)
            return images

    measure(Probe(), LatencyTarget.parse("cpu"), SHAPE, lock)
    assert not Probe.shared_fails[0], "preparation goes on beside others"
    assert all(Probe.shared_fails[1:])
    assert len(Probe.shared_fails) > 30


def test_garbage_is_collected_before_anybody_waits(tmp_path: Path, lock: DeviceLock) -> None:
    (path,) = tmp_path.glob("*.lock")
    alone: list[bool] = []

    def note(phase: str, _: object) -> None:
        if phase == "start":
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    alone.append(False)
                except BlockingIOError:
                    alone.append(True)

    gc.callbacks.append(note)
    try:
        measure(Spin(1e-3), LatencyTarget.parse("cpu"), SHAPE, lock)
    finally:
        gc.callbacks.remove(note)
    assert alone and not any(alone)


def test_result_is_json_and_carries_target_and_conditions(lock: DeviceLock) -> None:
    target = LatencyTarget.parse("cpu:batch=2")
    found = measure(Spin(1e-4), target, SHAPE, lock)
    assert found.target == target.fingerprint(SHAPE)
    assert json.loads(json.dumps(found.conditions)) == found.conditions
    assert {
        "host",
        "measured",
        "load_average_1min",
        "other_busy_cores",
        "waited_s",
        "warmup_stable",
    } <= found.conditions.keys()


def test_the_interval_learns_from_the_device(tmp_path: Path, lock: DeviceLock) -> None:
    """The pace of the device is remembered beside its lock, and the stated interval is wider than that of the
    samples."""
    first = measure(Spin(1e-3), LatencyTarget.parse("cpu"), SHAPE, lock)
    (history,) = tmp_path.glob("nas-notes-*/nas-cpu-*-pace-*.json")
    assert first.conditions["pace_timings"] == len(json.loads(history.read_text())) == 1
    low, high = first.conditions["sampling_interval_ms"]
    assert first.ci_low_ms < low <= first.median_ms <= high < first.ci_high_ms
    history.write_text(json.dumps([[60 * minute, 1e-4 * 1.5**minute] for minute in range(10)]))
    second = measure(Spin(1e-3), LatencyTarget.parse("cpu"), SHAPE, lock)
    assert second.ci_high_ms - second.ci_low_ms > 3 * (first.ci_high_ms - first.ci_low_ms)


def test_preemption_is_noticed(lock: DeviceLock) -> None:
    """A process that is stopped by the kernel was not alone; sleeping gives the core up without being preempted."""
    timer = cpu_timer(threads=1)
    assert timer(lambda: time.sleep(1e-4), 3).preemptions == 0
