"""Pooling and classifier. timm has both, but their methods changed with its versions, and a zoo entry meets many."""

from typing import Any

import torch
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from torch import nn

from search_spaces.network.layers.norms import MAP_NORMS


class Head(nn.Module):
    """Pooling, norm, hidden layer, dropout, linear layer: (B, width, H, W) -> (B, num_classes).

    Without pooling norm and layers are applied at every position: (B, num_classes, H, W). Modules have the names of
    timm's heads. Subclasses say which norms there are, by the names of MAP_NORMS, and whether there is a hidden layer.

    Args:
        width: channels of the map.
        num_classes: 0 for no classifier.
        pool_type: timm's name of the pooling; "" for none.
        drop_rate: dropout before the classifier.
        bare: leave norm and hidden layer out.

    Raises:
        ValueError: if the pooling changes the number of channels and there is a norm or layer for the former number.
    """

    map_norm = "none"
    """Norm of the last map, before the pooling; the backbone's part."""
    pooled_norm = "none"
    has_hidden = False
    """A linear layer of the same width and tanh before the classifier."""

    def __init__(self, width: int, num_classes: int, pool_type: str, drop_rate: float, bare: bool = False) -> None:
        super().__init__()
        pool: Any = SelectAdaptivePool2d(pool_type=pool_type)
        self.global_pool = pool
        self.num_features: int = width * pool.feat_mult()
        pooled_norm = "none" if bare else self.pooled_norm
        has_hidden = self.has_hidden and not bare
        if self.num_features != width and (pooled_norm != "none" or has_hidden):
            raise ValueError(
                f"global_pool {pool_type!r} gives {self.num_features} channels, and the norm behind it takes {width}; "
                "give avg, max, avgmax or ''"
            )
        self.is_pooled = bool(pool_type)
        self.is_bare = bare
        self.norm = MAP_NORMS[pooled_norm](width)
        self.hidden = HiddenLayer(width) if has_hidden else nn.Identity()
        self.drop = nn.Dropout(drop_rate)
        self.fc: nn.Module = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Logits, or with pre_logits what the classifier reads."""
        x = self.norm(self.global_pool(x))
        if self.is_pooled:
            x = x.flatten(1)
        x = self.drop(self.hidden(x))
        if pre_logits:
            return x
        logits: torch.Tensor = self.fc(x) if self.is_pooled else self.fc(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return logits


class HiddenLayer(nn.Module):
    """tanh(linear x) of vectors (B, C) or of each position of a map (B, C, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.fc(x.movedim(1, -1))).movedim(-1, 1)
