"""The network of a spec as a timm-style model."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.weight_init import trunc_normal_
from timm.models import checkpoint_seq, register_notrace_module
from timm.models._features import feature_take_indices
from torch import nn

from search_spaces.network.blocks import make_block
from search_spaces.network.layers.norms import MAP_NORMS
from search_spaces.network.parts import find_part


@register_notrace_module
class StagePosition(nn.Module):
    """x + a learned map: (B, C, H, W) -> (B, C, H, W); interpolated where the image has another size.

    Source: iFormer (arXiv 2205.12956).
    """

    undecayed = ("table",)

    def __init__(self, width: int, map_size: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, width, map_size, map_size))
        trunc_normal_(self.table, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        H = x.shape[2]
        W = x.shape[3]
        table: torch.Tensor = self.table
        if table.shape[2] != H or table.shape[3] != W:
            table = F.interpolate(table, size=[H, W], mode="bilinear", align_corners=False)
        return x + table


class HybridStage(nn.Module):
    """Downsampling and the blocks at one resolution."""

    def __init__(self, stage: dict[str, Any], in_width: int, map_size: int, drop_path_rates: list[float]) -> None:
        super().__init__()
        self.grad_checkpointing = False
        width = stage["width"]
        self.downsample = find_part("downsamples", stage["downsample"])(in_width, width, stage["stride"], map_size)
        self.position = StagePosition(width, map_size) if stage.get("position") == "map" else nn.Identity()
        blocks = zip(stage["blocks"], drop_path_rates, strict=True)
        self.blocks = nn.Sequential(
            *(make_block(width, {**block, "map_size": map_size}, rate) for block, rate in blocks)
        )
        self.norm = MAP_NORMS[stage.get("norm") or "none"](width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.position(self.downsample(x))
        if self.grad_checkpointing and not torch.jit.is_scripting():  # type: ignore[attr-defined]
            recomputed: torch.Tensor = self.norm(checkpoint_seq(self.blocks, out))
            return recomputed
        out = self.norm(self.blocks(out))
        return out


class HybridBackbone(nn.Module):
    """Stem, stages, pooling and classifier of an Architecture's spec, with timm's methods.

    (B, in_chans, H, W) -> (B, num_classes), for H and W multiples of the total stride. No parameter depends on the
    image size.

    Args:
        spec: what Architecture.to_spec() returns.
        num_classes: of the classifier, 0 for none; by default the spec's.
        in_chans: input channels; by default the spec's.
        global_pool: timm's name of the pooling; "" for none.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last block, rising linearly from 0 in the first.
        img_size: sides of the images in pixels, for callers that give it to every model; only checked.
        output_stride: sides of the images over those of the last map; only checked.

    Raises:
        ValueError: if the network cannot take images of that size, or has another output stride.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        num_classes: int | None = None,
        in_chans: int | None = None,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        img_size: int | tuple[int, int] | None = None,
        output_stride: int | None = None,
    ) -> None:
        super().__init__()
        self.num_classes: int = spec["num_classes"] if num_classes is None else num_classes
        self.in_chans: int = spec["in_chans"] if in_chans is None else in_chans
        self.drop_rate = drop_rate
        width = spec["stem"]["width"]
        self.stem = find_part("stems", spec["stem"]["kind"])(self.in_chans, width, spec["stem"]["norm"])
        reduction = self.stem.stride
        depths = [len(stage["blocks"]) for stage in spec["stages"]]
        rates: Any = torch.linspace(0, drop_path_rate, sum(depths), device="cpu")
        stages = []
        feature_info: list[dict[str, Any]] = []
        for index, (stage, stage_rates) in enumerate(zip(spec["stages"], rates.split(depths), strict=True)):
            reduction *= stage["stride"]
            stages.append(HybridStage(stage, width, -(-spec["image_size"] // reduction), stage_rates.tolist()))
            width = stage["width"]
            if feature_info and feature_info[-1]["reduction"] == reduction:
                feature_info.pop()  # as everywhere in timm, each resolution is one feature: its last map
            feature_info.append({"num_chs": width, "reduction": reduction, "module": f"stages.{index}"})
        _require_size(img_size, output_stride, reduction, spec["image_size"])
        self.feature_info = feature_info
        self.feature_stages = [int(info["module"].removeprefix("stages.")) for info in feature_info]
        self.stages = nn.Sequential(*stages)
        self.num_features = width
        head = find_part("heads", spec["head_norm"])
        self.norm: nn.Module = MAP_NORMS[head.map_norm](width)
        self.head = head(width, self.num_classes, global_pool, drop_rate)
        self.head_hidden_size: int = self.head.num_features
        self.apply(_init_weights)

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def no_weight_decay(self) -> set[str]:
        """Parameters that act as biases although they have more than one axis: gates of key-only attention, biases and
        temperatures of positions. The class attribute `undecayed` of a module names them."""
        found: set[str] = set()
        for place, module in self.named_modules():
            found |= {f"{place}.{name}" for name in getattr(module, "undecayed", ())}
        return found & {name for name, _ in self.named_parameters()}

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that group parameters by depth, for layer-wise learning rates."""
        blocks = [
            (r"^stages\.(\d+)\.(?:downsample|position)", (0,)),
            (r"^stages\.(\d+)\.blocks\.(\d+)", None),
            (r"^stages\.(\d+)\.norm", (99999,)),
            (r"^norm", (99999,)),
        ]
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if coarse else blocks}

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the blocks' activations in the backward pass instead of keeping them."""
        stage: Any
        for stage in self.stages:
            stage.grad_checkpointing = enable

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def get_classifier(self) -> nn.Module:
        """The last linear layer; Identity when there are no classes."""
        classifier: nn.Module = self.head.fc
        return classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None, reset_other: bool = False) -> None:
        """Put a new classifier (and pooling, if named) in place; reset_other removes the head's norm too."""
        self.num_classes = num_classes
        pool_type = self.head.global_pool.pool_type if global_pool is None else global_pool
        bare = reset_other or self.head.is_bare
        head = type(self.head)(self.num_features, num_classes, pool_type, self.drop_rate, bare)
        if not bare:
            head.norm = self.head.norm
            head.hidden = self.head.hidden
        weight = next(self.parameters())
        self.head = head.to(weight.device, weight.dtype).train(self.training)
        self.head_hidden_size = head.num_features

    def forward_intermediates(
        self,
        x: torch.Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The last map of each resolution, of these those at `indices` (the last n if an int, all if None), and the
        final features unless intermediates_only.

        Args:
            norm: apply the final norm to the last stage's output.
            stop_early: do not run stages behind the last one asked for.
        """
        assert output_fmt == "NCHW", "Output shape must be NCHW."
        take_indices, max_index = self._take_stages(indices)
        last_index = self.feature_stages[-1]
        intermediates = []
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            if stop_early and index > max_index:
                break
            x = stage(x)
            if index == last_index and (norm or not intermediates_only):
                normed = self.norm(x)
                if index in take_indices:
                    intermediates.append(normed if norm else x)
                x = normed
            elif index in take_indices:
                intermediates.append(x)
        return intermediates if intermediates_only else (x, intermediates)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop what the maps at `indices` do not need; returns the indices as non-negative numbers."""
        taken, max_index = self._take_stages(indices)
        prune_end = max_index < len(self.stages) - 1
        if prune_norm or prune_end:
            self.norm = nn.Identity()
        self.stages = self.stages[: max_index + 1]
        if prune_end:
            last = self.feature_info[self.feature_stages.index(max_index)]
            self.num_features = self.head_hidden_size = last["num_chs"]
        if prune_head or prune_end:
            self.reset_classifier(0, "", reset_other=True)
        return [self.feature_stages.index(stage) for stage in taken]

    def _take_stages(self, indices: int | list[int] | None) -> tuple[list[int], int]:
        """The stages whose maps are the features at `indices`, and the last of them."""
        present = [stage for stage in self.feature_stages if stage < len(self.stages)]
        take_indices, max_index = feature_take_indices(len(present), indices)
        return [present[index] for index in take_indices], present[max_index]

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_chans, H, W) -> (B, num_features, H / stride, W / stride)."""
        features: torch.Tensor = self.norm(self.stages(self.stem(x)))
        return features

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Feature map -> logits, or the pooled vector with pre_logits."""
        out: torch.Tensor = self.head(x, pre_logits=True) if pre_logits else self.head(x)
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


def _require_size(img_size: int | tuple[int, int] | None, output_stride: int | None, stride: int, usual: int) -> None:
    """Refuse what this network's total stride does not allow; the spec's own image size was checked with the spec."""
    sides = (img_size, img_size) if isinstance(img_size, int) else img_size or ()
    if any(side != usual and (side < stride or side % stride) for side in sides):
        raise ValueError(
            f"img_size {img_size} was given; expected sides that are multiples of {stride}, which is the stride of "
            "this network"
        )
    if output_stride not in (None, stride):
        raise ValueError(
            f"output_stride {output_stride} was given; this network has {stride} and no other: leave it out, or take "
            "an earlier map with features_only and out_indices"
        )


def _init_weights(module: nn.Module) -> None:
    """Linear layers as in DeiT and GroupMixFormer; convolutions and norms keep torch's defaults.

    A module comes after its parts, so that one with `start_as_published` can set what its source starts otherwise.
    """
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    start: Any = getattr(module, "start_as_published", None)
    if start is not None:
        start()
