"""Training-free scores of one network, some of which fail."""

import contextlib
import math

import pytest
import torch
from torch import nn

from nas.surrogates.proxies import AZ_NAS, PROXIES
from search_spaces.network.backbone import HybridBackbone
from tests.workers.training.test_zero_cost import SHAPE, build
from workers.data.batches import Batch
from workers.training import scoring as module
from workers.training.scoring import network_scores
from workers.training.zero_cost import zero_cost_scores


@pytest.fixture(scope="module")
def model() -> HybridBackbone:
    return build("full")


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(4, *SHAPE, generator=generator), torch.randint(10, (4,), generator=generator)) for _ in range(3)
    ]


def test_each_is_what_an_audit_computes(model: HybridBackbone, batches: list[Batch]) -> None:
    values, reasons = network_scores(model, batches, PROXIES, contextlib.nullcontext)
    assert values == zero_cost_scores(model, batches)
    assert reasons == {}
    assert network_scores(model, batches, ["trainability"], contextlib.nullcontext) == (
        {"trainability": values["trainability"]},
        {},
    )


def test_what_is_not_finite_has_a_reason(batches: list[Batch]) -> None:
    broken = build("full")
    with torch.no_grad():
        broken.head.fc.weight.fill_(math.nan)
    values, reasons = network_scores(broken, batches, PROXIES, contextlib.nullcontext)
    assert values.keys() == set(AZ_NAS)
    assert reasons == {"synflow": "synflow is nan", "zico": "zico is nan"}
    with torch.no_grad():
        for weight in broken.parameters():
            weight.fill_(math.nan)
    values, reasons = network_scores(broken, batches, PROXIES, contextlib.nullcontext)
    assert (values, reasons.keys()) == ({}, set(PROXIES))


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried 1 GiB\nmore")])
def test_no_memory_for_one_leaves_the_others(
    error: Exception, model: HybridBackbone, batches: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*arguments: object) -> float:
        raise error

    monkeypatch.setattr(module, "zico", greedy)
    values, reasons = network_scores(model, batches, ["zico", "synflow"], contextlib.nullcontext)
    assert values.keys() == {"synflow"}
    assert reasons["zico"].startswith("out of memory: ") and "\n" not in reasons["zico"]


def test_an_error_of_the_device_is_raised(
    model: HybridBackbone, batches: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*arguments: object) -> float:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(module, "zico", faulty)
    with pytest.raises(RuntimeError, match="CUDA error"):
        network_scores(model, batches, ["zico"], contextlib.nullcontext)


def test_networks_of_others_have_what_needs_no_stages(batches: list[Batch]) -> None:
    other = nn.Sequential(nn.Flatten(), nn.Linear(1024, 10))
    values, reasons = network_scores(other, batches, PROXIES, contextlib.nullcontext)
    assert values.keys() == {"zico"}
    assert reasons.keys() == {"synflow", *AZ_NAS}
    assert "Sequential" in reasons["synflow"]
