"""Registered presets for tests, made the same way every time."""

from typing import Any

import timm
import torch
from torch import nn

import search_spaces.presets  # noqa: F401 (registers them)

ONE_PER_FAMILY = (
    "groupmixformer_mobile",
    "linglo_b0",
    "linglo_b0_grafted",
    "hybrid_convnext_tiny",
    "coatnet_0",
    "moat_0",
    "ascan_like",
    "van_b0",
)


def create(name: str, **arguments: Any) -> nn.Module:
    """A model of timm's registry with the weights of seed 0."""
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(name, **arguments)
    return model


def images(size: int = 64, batch: int = 1) -> torch.Tensor:
    """(batch, 3, size, size), the same every time."""
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def randomise(module: nn.Module) -> nn.Module:
    """Weights and statistics that leave no term of a formula at zero; the module, in inference mode."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return module.eval()
