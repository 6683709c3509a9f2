"""Registered presets for tests, made the same way every time."""

from dataclasses import replace
from typing import Any

import timm
import torch
from torch import nn

from search_spaces.presets import MODEL_NAMES
from search_spaces.published.families import PRESETS

DEPLOYED = (
    "groupmixformer_mobile",
    "linglo_b0",
    "hybrid_convnext_tiny",
    "coatnet_0",
    "van_b0",
    "glnet_4g",
    "lsnet_t",
    "maxvit_tiny",
    "transnext_micro",
)
"""Some of them that have most kinds of parts, for what takes long; benchmarks/exports.py tries every mixer."""
PRESET_OF = {model: preset for preset, model in MODEL_NAMES.items()}
"""Name in timm's registry -> preset."""

ONE_PER_FAMILY = (
    "groupmixformer_mobile",
    "linglo_b0",
    "linglo_b0_grafted",
    "hybrid_convnext_tiny",
    "coatnet_0",
    "moat_tiny_0_tables",
    "ascan_like",
    "van_b0",
    "biformer_tiny",
    "casvit_xs",
    "crossformer_tiny",
    "hybrid_davit_tiny",
    "glnet_4g",
    "hornet_tiny",
    "iformer_small",
    "l2vit_tiny",
    "lsnet_t",
    "maxvit_tiny",
    "nat_mini",
    "hybrid_nextvit_small",
    "hybrid_pvt_v2_b0",
    "hybrid_shvit_s1",
    "transnext_micro",
)


def create(name: str, **arguments: Any) -> nn.Module:
    """A model of timm's registry with the weights of seed 0."""
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(name, **arguments)
    return model


def shallow(name: str, **arguments: Any) -> nn.Module:
    """The model with each block of a stage once that has the same spec as others of the stage: as wide as the whole,
    and faster to make and run."""
    architecture = PRESETS[PRESET_OF[name]].architecture
    stages = (replace(stage, blocks=tuple(dict.fromkeys(stage.blocks))) for stage in architecture.stages)
    return create(name, spec=replace(architecture, stages=tuple(stages)).to_spec(), **arguments)


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


def kept_bytes(module: nn.Module, x: torch.Tensor) -> int:
    """What the backward pass of the module keeps, every storage once."""
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = module(x)
    del out
    return sum(sizes.values())
