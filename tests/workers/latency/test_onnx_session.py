"""The timing of a network in onnxruntime."""

from pathlib import Path

import pytest
import torch
from torch import nn

from nas.errors import NasError
from workers.latency.device_lock import DeviceLock
from workers.latency.measure import measure
from workers.latency.target import LatencyTarget

pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")


def _network(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)
    ).train()


def test_a_wider_network_is_slower_and_stays_as_it_was(tmp_path: Path) -> None:
    target = LatencyTarget.parse("onnxruntime:threads=1,batch=4")
    lock = DeviceLock("cpu", tmp_path)
    shape = (3, 32, 32)
    random_state = torch.get_rng_state()
    found = []
    for width in (4, 256):
        model = _network(width)
        model(torch.zeros(2, *shape))
        random_state = torch.get_rng_state()
        found.append(measure(model, target, shape, lock))
        assert model.training and all(parameter.requires_grad for parameter in model.parameters())
        assert torch.equal(torch.get_rng_state(), random_state)
    assert found[0].median_ms < found[1].median_ms
    assert found[0].target == target.fingerprint(shape)


def test_a_file_that_computes_something_else_is_not_timed(tmp_path: Path) -> None:
    class Lies(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) + (0.0 if torch.compiler.is_compiling() else 1.0)

    with pytest.raises(NasError, match="the ONNX file differs from torch by up to 1"):
        measure(Lies(), LatencyTarget.parse("onnxruntime"), (3, 8, 8), DeviceLock("cpu", tmp_path))


def test_a_network_that_cannot_be_exported_is_explained(tmp_path: Path) -> None:
    class Depends(nn.Module):
        """Its way depends on the values of the images."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) if x.sum().item() > 0 else x.amax((2, 3))

    with pytest.raises(NasError, match="torch cannot export this network to ONNX"):
        measure(Depends(), LatencyTarget.parse("onnxruntime"), (3, 8, 8), DeviceLock("cpu", tmp_path))
