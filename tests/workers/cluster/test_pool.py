"""What the pool decides without Ray: how many workers there are."""

import os

import pytest
import torch

from workers.cluster import pool as ray_pool
from workers.cluster.pool import default_gpus_per_worker, default_num_workers


@pytest.mark.parametrize(("gpus", "workers", "share"), [(0, len(os.sched_getaffinity(0)), 0.0), (4, 4, 1.0)])
def test_defaults(gpus: int, workers: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert default_num_workers() == workers
    assert default_gpus_per_worker(workers) == share


@pytest.mark.parametrize(("gpus", "workers", "share"), [(1, 2, 0.5), (4, 2, 1.0), (2, 3, 0.5)])
def test_shares_of_gpus_fit(gpus: int, workers: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that does not divide a GPU would leave a worker without a place: three thirds of two GPUs."""
    monkeypatch.setattr(ray_pool, "num_gpus", lambda: gpus)
    assert default_gpus_per_worker(workers) == share
