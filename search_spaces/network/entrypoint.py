"""What timm's registry calls: the root of the module that every zoo entry carries, under a name of its version."""

import math
from typing import Any

import torch
from timm.models import build_model_with_cfg

from search_spaces.network.backbone import HybridBackbone

ADAPTED_LAYERS = {"classifier": "head.fc"}
"""What timm drops when pretrained weights meet another number of classes."""
STEM = "stem.0.weight"
"""Adapted to another number of channels here: timm before 1.0.31 can do that for weights of three channels only."""


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
    feature_cfg = {"out_indices": tuple(range(len(kwargs["spec"]["stages"]))), "feature_cls": "getter"}
    model: HybridBackbone = build_model_with_cfg(
        HybridBackbone, name, pretrained, feature_cfg=feature_cfg, pretrained_filter_fn=_fit_stem, **kwargs
    )
    return model.to(device=device, dtype=dtype)


def _fit_stem(weights: dict[str, torch.Tensor], model: HybridBackbone) -> dict[str, torch.Tensor]:
    """The weights for the model's number of image channels, as timm adapts them: their sum for one channel, else
    repeated and scaled so that the sum stays."""
    stem = weights[STEM]
    given = stem.shape[1]
    wanted = model.in_chans
    if wanted == given:
        return weights
    if wanted == 1:
        return {**weights, STEM: stem.sum(dim=1, keepdim=True)}
    repeated = stem.repeat(1, math.ceil(wanted / given), 1, 1)[:, :wanted]
    return {**weights, STEM: repeated * (given / wanted)}
