"""Pooling and classifier. timm has both, but their methods changed with its versions, and a zoo entry meets many."""

from typing import Any

import torch
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from torch import nn


class Head(nn.Module):
    """Pooling, norm, dropout, linear layer: (B, width, H, W) -> (B, num_classes).

    Without pooling the linear layer is applied at every position: (B, num_classes, H, W). Modules have the names of
    timm's heads.

    Args:
        width: channels of the map.
        num_classes: 0 for no classifier.
        pool_type: timm's name of the pooling; "" for none.
        drop_rate: dropout before the classifier.
        norm: of the pooled map; nn.Identity() for none.

    Raises:
        ValueError: if the pooling changes the number of channels and there is a norm for the former number.
    """

    def __init__(self, width: int, num_classes: int, pool_type: str, drop_rate: float, norm: nn.Module) -> None:
        super().__init__()
        pool: Any = SelectAdaptivePool2d(pool_type=pool_type)
        self.global_pool = pool
        self.num_features: int = width * pool.feat_mult()
        if self.num_features != width and not isinstance(norm, nn.Identity):
            raise ValueError(
                f"global_pool {pool_type!r} gives {self.num_features} channels, and the norm behind it takes {width}; "
                "give avg, max, avgmax or ''"
            )
        self.is_pooled = bool(pool_type)
        self.norm = norm
        self.drop = nn.Dropout(drop_rate)
        self.fc: nn.Module = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Logits, or with pre_logits what the classifier reads."""
        x = self.norm(self.global_pool(x))
        if self.is_pooled:
            x = x.flatten(1)
        x = self.drop(x)
        if pre_logits:
            return x
        logits: torch.Tensor = self.fc(x) if self.is_pooled else self.fc(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return logits
