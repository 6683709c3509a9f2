"""Which device is trained on and how many workers there are, for hosts with GPUs that are not here."""

from pathlib import Path

import psutil
import pytest
import torch

from nas.errors import InvalidInputError
from workers import devices
from workers.devices import (
    default_gpus_per_worker,
    default_num_workers,
    device_as_recorded,
    device_of_process,
    device_of_worker,
    fitting_workers,
    num_cores,
    num_processes,
    open_device,
)

CORES = num_cores()


@pytest.mark.parametrize(("gpus", "workers", "share"), [(0, CORES, 0.0), (4, 4, 1.0)])
def test_defaults(gpus: int, workers: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert default_num_workers() == workers
    assert default_gpus_per_worker(workers) == share


@pytest.mark.parametrize(("gpus", "workers", "share"), [(1, 2, 0.5), (4, 2, 1.0), (2, 3, 0.5)])
def test_shares_of_gpus_fit(gpus: int, workers: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that does not divide a GPU would leave a worker without a place: three thirds of two GPUs."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert default_gpus_per_worker(workers) == share


@pytest.mark.parametrize(("cores", "memory_gib", "fit"), [(4, 64, 4), (64, 2, 4), (1, 1, 1), (8, 0, 1)])
def test_no_more_workers_fit_than_cores_and_memory(
    cores: int, memory_gib: int, fit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "num_cores", lambda: cores)
    monkeypatch.setattr(devices, "memory_bytes", lambda: memory_gib * 2**30)
    assert fitting_workers(1000, 0.0) == fit
    assert fitting_workers(1, 0.0) == 1


@pytest.mark.parametrize(
    ("gpus", "workers", "share", "fits"),
    [
        (2, 2, 1.0, True),
        (2, 3, 0.6, False),
        (3, 3, 0.6, True),
        (1, 3, 1 / 3, True),
        (4, 2, 2.0, True),
        (4, 3, 2.0, False),
    ],
)
def test_a_share_lies_on_one_gpu(
    gpus: int, workers: int, share: float, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three workers with 0.6 of a GPU each find no place on two, although 1.8 is less than 2."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    if fits:
        assert fitting_workers(workers, share) == workers
        return
    with pytest.raises(
        InvalidInputError, match=rf"{workers} workers need .* GPUs, and torch sees {gpus}, with room for"
    ):
        fitting_workers(workers, share)


def test_a_container_has_the_memory_that_it_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = psutil.virtual_memory().total
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(devices, "_MEMORY_LIMITS", (tmp_path / "missing", limit))
    for text, expected in (("max", whole), (str(2**40), min(2**40, whole)), (str(2**28), 2**28)):
        limit.write_text(f"{text}\n")
        assert devices.memory_bytes() == expected


def test_a_worker_with_a_share_of_a_gpu_trains_on_it() -> None:
    assert [device_of_worker(share) for share in (0.0, 0.5, 1.0)] == ["cpu", "cuda:0", "cuda:0"]


@pytest.mark.parametrize(
    ("gpus", "kind", "device", "processes"),
    [(0, "cpu", "cpu", CORES), (2, "cpu", "cpu", CORES), (0, "cuda", "cpu", CORES), (2, "cuda", "cuda:0", 2)],
)
def test_a_study_is_trained_again_where_it_was_trained_if_that_is_here(
    gpus: int, kind: str, device: str, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert device_as_recorded(kind) == device
    assert num_processes(device) == processes


def test_processes_take_turns_with_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [device_of_process("cuda:0", place) for place in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert device_of_process("cpu", 3) == "cpu"


@pytest.mark.parametrize(
    ("device", "message"),
    [("tpu9", "'tpu9' is unknown"), ("cuda:99", "'cuda:99' is not there"), ("meta", "'meta' cannot be used")],
)
def test_a_device_that_cannot_train_is_refused(device: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        open_device(device)
