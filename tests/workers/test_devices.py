"""Which device is trained on and how many workers there are, for hosts with GPUs that are not here."""

import pytest
import torch

from nas.errors import InvalidInputError
from workers.devices import (
    default_gpus_per_worker,
    default_num_workers,
    device_as_recorded,
    device_of_process,
    device_of_worker,
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
