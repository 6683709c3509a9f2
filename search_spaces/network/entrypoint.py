"""What timm's registry calls: the root of the module that every zoo entry carries, under a name of its version."""

import math
from typing import Any

import torch
from timm.models import build_model_with_cfg

from search_spaces.network.backbone import HybridBackbone

ADAPTED_LAYERS = {"classifier": "head.fc"}
"""What timm drops when pretrained weights meet another number of classes."""


def build_hybrid_backbone(name: str, pretrained: bool, **kwargs: Any) -> HybridBackbone:
    """The network of a spec under a name of timm's registry, with what timm's builder does around it.

    Args:
        name: of the model in the registry.
        pretrained: load the weights that the pretrained_cfg names.
        kwargs: `spec`, which timm takes from an entry's config.json, and what HybridBackbone, features_only and timm's
            builder take; `device` and `dtype` say where and how the parameters are kept.

    Raises:
        ValueError: if there is no spec, or it cannot be built as asked.
    """
    if "spec" not in kwargs:
        raise ValueError(
            f"{name} was asked for without a spec and has no default network; "
            "name the folder of a zoo entry instead: timm.create_model('local-dir:FOLDER')"
        )
    device = kwargs.pop("device", None)
    dtype = kwargs.pop("dtype", None)
    # Feature maps come from forward_intermediates, which leaves out what lies behind the last stage asked for.
    features = 1 + sum(stage["stride"] > 1 for stage in kwargs["spec"]["stages"][1:])
    feature_cfg = {"out_indices": tuple(range(features)), "feature_cls": "getter"}
    model: HybridBackbone = build_model_with_cfg(
        HybridBackbone, name, pretrained, feature_cfg=feature_cfg, pretrained_filter_fn=_fit_stem, **kwargs
    )
    return model.to(device=device, dtype=dtype)


def _fit_stem(weights: dict[str, torch.Tensor], model: HybridBackbone) -> dict[str, torch.Tensor]:
    """The weights for the model's number of image channels; timm before 1.0.31 can adapt those of three channels
    only."""
    names = [f"stem.{conv}.weight" for conv in model.stem.image_convs]
    return {**weights, **{name: _fit_channels(weights[name], model.in_chans) for name in names}}


def _fit_channels(weight: torch.Tensor, wanted: int) -> torch.Tensor:
    """As timm adapts it: the sum for one channel, else repeated and scaled so that the sum stays."""
    given = weight.shape[1]
    if wanted == given:
        return weight
    if wanted == 1:
        return weight.sum(dim=1, keepdim=True)
    repeated = weight.repeat(1, math.ceil(wanted / given), 1, 1)[:, :wanted]
    return repeated * (given / wanted)
