"""Published state_dicts under our names, strictly: every entry is used once, every parameter is filled.

Nothing is learned or fitted here; a tensor is renamed, or put together from several, or has its rows reordered.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from nas.errors import InvalidInputError
from search_spaces.architecture.spec import Architecture
from search_spaces.network.backbone import HybridBackbone
from search_spaces.published.families import convnext, groupmixformer

Weights = dict[str, torch.Tensor]

_BLOCK = r"groupmixformer_backbone\.(\d+)\.gma_stage\.(\d+)"
_MIXER = r"stages.\1.blocks.\2.mixer"
GROUPMIXFORMER_NAMES: Sequence[tuple[str, str]] = (
    (r"conv_stem\.proj1\.", r"stem.0."),
    (r"conv_stem\.norm1\.", r"stem.1."),
    (r"conv_stem\.proj2\.", r"stem.3."),
    (r"conv_stem\.norm2\.", r"stem.4."),
    (r"patch_embed_layers\.(\d+)\.proj\.conv1\.", r"stages.\1.downsample.conv_dw."),
    (r"patch_embed_layers\.(\d+)\.proj\.pointwise_conv\.", r"stages.\1.downsample.conv_pw."),
    (r"patch_embed_layers\.(\d+)\.norm\.", r"stages.\1.downsample.bn."),
    (rf"{_BLOCK}\.cpe\.proj\.", r"stages.\1.blocks.\2.position.conv."),
    (rf"{_BLOCK}\.(norm[12])\.", r"stages.\1.blocks.\2.\3."),
    (rf"{_BLOCK}\.mlp\.", r"stages.\1.blocks.\2.ffn."),
    (rf"{_BLOCK}\.att\.(qkv|proj)\.", rf"{_MIXER}.\3."),
    (rf"{_BLOCK}\.att\.aggregator\.norm([0-3])\.", rf"{_MIXER}.norm.\3."),
    (rf"{_BLOCK}\.att\.aggregator\.agg0\.conv\.conv1\.", rf"{_MIXER}.branch.conv_dw."),
    (rf"{_BLOCK}\.att\.aggregator\.agg0\.conv\.pointwise_conv\.", rf"{_MIXER}.branch.conv_pw."),
    (rf"{_BLOCK}\.att\.aggregator\.agg0\.norm\.", rf"{_MIXER}.branch.norm."),
    (rf"{_BLOCK}\.att\.aggregator\.agg([123])\.conv1\.", rf"{_MIXER}.aggregators.\3.conv_dw."),
    (rf"{_BLOCK}\.att\.aggregator\.agg([123])\.pointwise_conv\.", rf"{_MIXER}.aggregators.\3.conv_pw."),
    (rf"{_BLOCK}\.att\.crpe\.conv_list\.(\d)\.", rf"{_MIXER}.position.convs.\3."),
    (r"norm4\.", r"norm."),
    (r"head\.", r"head.fc."),
)
"""Beginning of a published name (the authors' models/groupmixformer.py) -> of ours."""
CONVNEXT_NAMES: Sequence[tuple[str, str]] = (
    (r"stages\.(\d)\.blocks\.(\d+)\.", r"stages.\1.blocks.\2.mixer."),
    (r"(stem\.|stages\.\d\.downsample\.|head\.)", r"\1"),
)
"""Beginning of a name in timm's ConvNeXt -> of ours."""
SEGMENTS = 5
"""Parts of the channels in the published group-mix attention: four attended, one convolved."""


def convert_groupmixformer(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of a published GroupMixFormer for a model of ours,
    `timm.create_model("groupmixformer_tiny").load_state_dict(...)`.

    Args:
        state_dict: the authors' names and shapes; bare, under "model" or "state_dict", with or without "module." before
            each name. Widths, depths, feed-forward ratios, input channels and classes may be any. A backbone without
            norm4 and head is refused.

    Returns:
        Our names. The rows of qkv are reordered from (stream, segment, channel) to (segment, stream, channel), and the
        four BatchNorms of an aggregator stand in one; both are what search_spaces/network/mixers/group_mix.py computes
        with.

    Raises:
        InvalidInputError: listing unknown, missing and misshapen entries.
    """
    published = unwrapped(state_dict)
    architecture = _groupmixformer_of(published)
    weights = convert_groupmixformer_entries(published)
    require_match(weights, architecture, "GroupMixFormer")
    return weights


def convert_groupmixformer_entries(published: Weights) -> Weights:
    """Some entries of a published GroupMixFormer, a block for example, under our names; whether they are complete is
    not looked at.

    Raises:
        InvalidInputError: naming the entries that no GroupMixFormer has.
    """
    weights = renamed(published, GROUPMIXFORMER_NAMES)
    for name in [name for name in weights if re.search(r"mixer\.qkv\.", name)]:
        weights[name] = _by_segment(weights[name])
    _join_norms(weights)
    return weights


def convert_convnext(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of timm's ConvNeXt (tiny, small or base shapes) for a model of ours,
    `timm.create_model("hybrid_convnext_tiny")`.

    Raises:
        InvalidInputError: listing unknown, missing and misshapen entries.
    """
    published = unwrapped(state_dict)
    widths = [_rows(published, f"stages.{stage}.blocks.0.conv_dw.weight") for stage in range(4)]
    depths = [_count(published, rf"stages\.{stage}\.blocks\.(\d+)\.") for stage in range(4)]
    weights = renamed(published, CONVNEXT_NAMES)
    require_match(
        weights, _with_ends(convnext(widths, depths), published, "stem.0.weight", "head.fc.weight"), "ConvNeXt"
    )
    return weights


def require_match(weights: Weights, architecture: Architecture, what: str) -> None:
    """Refuse weights that are not exactly those of the architecture's network.

    Raises:
        InvalidInputError: listing what is missing, left over or of another shape, in our names.
    """
    with torch.device("meta"):
        expected = {
            name: tuple(value.shape) for name, value in HybridBackbone(architecture.to_spec()).state_dict().items()
        }
    given = {name: tuple(value.shape) for name, value in weights.items()}
    problems = [f"missing {name} {shape}" for name, shape in expected.items() if name not in given]
    problems += [f"left over {name} {shape}" for name, shape in given.items() if name not in expected]
    problems += [
        f"{name} is {given[name]} instead of {shape}"
        for name, shape in expected.items()
        if given.get(name, shape) != shape
    ]
    if problems:
        shown = "; ".join(problems[:20]) + (f"; and {len(problems) - 20} more" if len(problems) > 20 else "")
        raise InvalidInputError(
            f"the checkpoint is not a {what} of this size: {shown}; give the checkpoint of this network"
        )


def unwrapped(state_dict: Mapping[str, Any]) -> Weights:
    """The tensors of a checkpoint, without what stands around them and before their names.

    Raises:
        InvalidInputError: if it holds anything but tensors.
    """
    for key in ("model", "state_dict"):
        if isinstance(state_dict.get(key), Mapping):
            state_dict = state_dict[key]
    strangers = [
        name for name, value in state_dict.items() if not isinstance(value, torch.Tensor) or not isinstance(name, str)
    ]
    if strangers or not state_dict:
        raise InvalidInputError(
            f"the checkpoint has no tensors under {sorted(map(str, strangers))[:5] or 'any name'}; expected a "
            "state_dict, bare or under "
            "'model' or 'state_dict'"
        )
    weights = {name.removeprefix("module."): value for name, value in state_dict.items()}
    if len(weights) != len(state_dict):
        raise InvalidInputError(
            "the checkpoint has names with and without 'module.' that are otherwise equal; expected one of each"
        )
    return weights


def renamed(published: Weights, table: Sequence[tuple[str, str]]) -> Weights:
    """Each entry by the first row whose pattern its name begins with.

    Raises:
        InvalidInputError: naming the entries that no row knows.
    """
    weights = {}
    unknown = []
    for name, value in published.items():
        ours = next((re.sub(f"^{pattern}", new, name) for pattern, new in table if re.match(pattern, name)), None)
        if ours is None:
            unknown.append(name)
        else:
            weights[ours] = value
    if unknown:
        raise InvalidInputError(
            f"the checkpoint has {len(unknown)} entries that its network does not have: {', '.join(unknown[:20])}; "
            "give the published file"
        )
    return weights


def _groupmixformer_of(published: Weights) -> Architecture:
    """The network whose sizes the tensors have."""
    stages = range(_count(published, r"groupmixformer_backbone\.(\d+)\."))
    if len(stages) != 4:
        raise InvalidInputError(
            f"the checkpoint has {len(stages)} stages named groupmixformer_backbone.N; expected the 4 of a "
            "published GroupMixFormer"
        )
    block = "groupmixformer_backbone.{}.gma_stage.0"
    widths = [_rows(published, f"patch_embed_layers.{stage}.norm.weight") for stage in stages]
    depths = [_count(published, rf"groupmixformer_backbone\.{stage}\.gma_stage\.(\d+)\.") for stage in stages]
    hidden = [_rows(published, f"{block.format(stage)}.mlp.fc1.weight") for stage in stages]
    if any(width % 10 or rows % width for width, rows in zip(widths, hidden, strict=True)):
        raise InvalidInputError(
            f"the checkpoint has widths {widths} and feed-forwards of {hidden}; expected widths divisible by 10 "
            "and whole multiples of them"
        )
    ratios = [rows // width for width, rows in zip(widths, hidden, strict=True)]
    return _with_ends(groupmixformer(widths, depths, ratios), published, "conv_stem.proj1.weight", "head.weight")


def _with_ends(architecture: Architecture, published: Weights, first: str, last: str) -> Architecture:
    """The architecture with the input channels and classes that the checkpoint has."""
    _rows(published, first, dim=4)
    return replace(architecture, in_chans=published[first].shape[1], num_classes=_rows(published, last))


def _rows(published: Weights, name: str, dim: int = 1) -> int:
    if name not in published or published[name].dim() < dim:
        raise InvalidInputError(
            f"the checkpoint has no tensor {name} of {dim} or more axes; expected the published names and shapes"
        )
    return int(published[name].shape[0])


def _count(published: Weights, pattern: str) -> int:
    """How many numbers the names have where the pattern has its group, counted from 0."""
    found = {int(match[1]) for name in published if (match := re.match(pattern, name))}
    return max(found) + 1 if found else 0


def _by_segment(rows: torch.Tensor) -> torch.Tensor:
    """(3 C, ...) ordered by stream, segment, channel -> ordered by segment, stream, channel."""
    if rows.dim() == 0 or rows.shape[0] % (3 * SEGMENTS):
        return rows  # of another shape than any network's; require_match says so
    ordered = rows.view(3, SEGMENTS, rows.shape[0] // (3 * SEGMENTS), *rows.shape[1:]).transpose(0, 1)
    return ordered.reshape(rows.shape)


def _join_norms(weights: Weights) -> None:
    """Put the BatchNorms of segments 0 to 3, mixer.norm.N.FIELD, one behind the other into mixer.norm.FIELD.

    Raises:
        InvalidInputError: if one of the four is missing or has another shape than its neighbours.
    """
    parts: dict[str, list[torch.Tensor | None]] = {}
    for name in [name for name in weights if re.search(r"mixer\.norm\.\d\.", name)]:
        joined, number, field = re.fullmatch(r"(.*\.mixer\.norm\.)(\d)\.(.+)", name).groups()  # type: ignore[union-attr]
        parts.setdefault(joined + field, [None] * (SEGMENTS - 1))[int(number)] = weights.pop(name)
    for name, segments in parts.items():
        shapes = [None if tensor is None else tuple(tensor.shape) for tensor in segments]
        if None in shapes or len(set(shapes)) > 1:
            where = re.sub(
                r"stages\.(\d+)\.blocks\.(\d+)\.mixer", r"groupmixformer_backbone.\1.gma_stage.\2.att.aggregator", name
            )
            raise InvalidInputError(
                f"the checkpoint has {where.replace('.norm.', '.norm0 to norm3.')} with the shapes {shapes} (None: "
                "missing); expected four "
                "of one shape, as published"
            )
        tensors = [tensor for tensor in segments if tensor is not None]
        # One counter stands for four that are always equal.
        weights[name] = tensors[0] if tensors[0].dim() == 0 else torch.cat(tensors)
