"""A network as one value: everything that is built, and nothing about how a search found it. Imports no torch.

    Architecture ── StemSpec
                 └─ StageSpec ... ── BlockSpec ...

Two architectures are equal when the networks are: a field that a block does not use has its neutral value (0, "",
"none" or ()).
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, get_args, get_origin

from nas.errors import InvalidInputError
from nas.records import JSON
from nas.text import json_hash
from search_spaces.architecture.block import NORMS, BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.downsamples.registry import DOWNSAMPLES
from search_spaces.architecture.ffns.registry import FFNS
from search_spaces.architecture.heads.registry import HEADS as HEAD_KINDS
from search_spaces.architecture.kinds.kind import ATTENTION, CONV, HEADS
from search_spaces.architecture.kinds.registry import KINDS, names
from search_spaces.architecture.knobs import option_problem
from search_spaces.architecture.layout import layout_text
from search_spaces.architecture.stems.registry import STEMS

CHOICES: Mapping[str, tuple[str, ...]] = {
    "StemSpec.kind": tuple(STEMS),
    "StemSpec.norm": ("batch", "batch_1e-3", "layer", "layer_1e-5"),
    "StageSpec.downsample": tuple(DOWNSAMPLES),
    "StageSpec.norm": ("", *NORMS),
    "StageSpec.position": ("", "map"),
    "BlockSpec.kind": ("conv", "attention", "fused_serial", "fused_parallel", "ffn"),
    "BlockSpec.conv": ("", *names(CONV)),
    "BlockSpec.attention": ("", *names(ATTENTION)),
    "BlockSpec.position": ("none", "cpe", "relative", "rep"),
    "BlockSpec.ffn": ("none", *FFNS),
    "BlockSpec.norm": ("", *NORMS),
    "Architecture.head_norm": tuple(HEAD_KINDS),
}
"""Field -> the names it takes; what each of them is stands in docs/reference/space.md."""

LATER_FIELDS = {
    "BlockSpec": ("options", "conv_options", "ffn_options", "norm", "branch_scale"),
    "StageSpec": ("norm", "position"),
}
"""Fields that came after architectures were recorded: a spec names them only where they are not neutral, so that hashes
stay."""


@dataclass(frozen=True)
class Architecture:
    """A classification network for square images."""

    stem: StemSpec
    stages: tuple[StageSpec, ...]
    head_norm: str
    """The head: a name of HEADS. batch: a norm of the last map, before pooling. layer: of the pooled vector."""
    image_size: int
    in_chans: int
    num_classes: int

    @cached_property
    def arch_hash(self) -> str:
        """SHA-256 of the canonical JSON of the spec, 64 hex digits."""
        return json_hash(self.to_spec())

    def to_spec(self) -> JSON:
        """JSON with one key per field."""
        spec: JSON = _to_json(self)
        return spec

    @classmethod
    def from_spec(cls, spec: JSON) -> "Architecture":
        """The architecture that `to_spec` wrote.

        Raises:
            InvalidInputError: if a field is missing, unknown, of another type or not among its names, or if the network
                cannot be built; the message names the field.
        """
        architecture: Architecture = _from_json(cls, spec, "spec")
        _check(architecture)
        return architecture

    def layout(self) -> str:
        """One line: stem, then width and block symbols of each stage."""
        return layout_text(self.stem, self.stages)

    def map_sizes(self) -> tuple[int, ...]:
        """Side of each stage's square map, in positions."""
        sizes = []
        size = self.image_size // STEMS[self.stem.kind].stride
        for stage in self.stages:
            size = -(-size // stage.stride)
            sizes.append(size)
        return tuple(sizes)


def total_stride(architecture: Architecture) -> int:
    """Side of an input divided by that of the last feature map."""
    return STEMS[architecture.stem.kind].stride * math.prod(stage.stride for stage in architecture.stages)


def _fields_of(cls: type[Any]) -> tuple[tuple[str, Any], ...]:
    """(name, type) of each field."""
    return tuple((field.name, field.type) for field in fields(cls))


_FIELDS = {cls: _fields_of(cls) for cls in (BlockSpec, StageSpec, StemSpec, Architecture)}


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    if type(value) not in _FIELDS:
        return value
    written = {}
    later = LATER_FIELDS.get(type(value).__name__, ())
    for name, _ in _FIELDS[type(value)]:
        item = getattr(value, name)
        if item or name not in later:
            written[name] = _to_json(item)
    return written


def _from_json(cls: Any, data: Any, path: str) -> Any:
    if cls not in _FIELDS:
        return _scalar(cls, data, path)
    types = dict(_FIELDS[cls])
    required = types.keys() - set(LATER_FIELDS.get(cls.__name__, ()))
    if not isinstance(data, dict) or not required <= data.keys() <= types.keys():
        given = sorted(data) if isinstance(data, dict) else repr(data)
        also = sorted(types.keys() - required)
        rest = f", and {', '.join(also)} or not" if also else ""
        raise InvalidInputError(f"{path} is {given}; expected an object with exactly the keys {sorted(required)}{rest}")
    values = {name: _field(types[name], data[name], f"{path}.{name}") for name in types if name in data}
    for name, value in values.items():
        known = CHOICES.get(f"{cls.__name__}.{name}")
        if known is not None and value not in known:
            raise InvalidInputError(f"{path}.{name} is {value!r}; expected one of {', '.join(map(repr, known))}")
    return cls(**values)


def _field(annotation: Any, data: Any, path: str) -> Any:
    if get_origin(annotation) is not tuple:
        return _from_json(annotation, data, path)
    if not isinstance(data, list | tuple):
        raise InvalidInputError(f"{path} is {data!r}; expected a list")
    return tuple(_field(get_args(annotation)[0], item, f"{path}[{index}]") for index, item in enumerate(data))


def _scalar(cls: Any, data: Any, path: str) -> Any:
    if type(data) is not cls and not (cls is float and type(data) is int):
        raise InvalidInputError(f"{path} is {data!r}; expected a value of type {cls.__name__}")
    if isinstance(data, int | float) and not 0 <= data <= sys.float_info.max:
        raise InvalidInputError(f"{path} is {data!r}; expected a finite number that is not negative")
    return abs(float(data)) if cls is float else data  # one text for one value: 1 becomes 1.0, and -0.0 becomes 0.0


def _check(architecture: Architecture) -> None:
    """Refuse what has valid fields and cannot be built."""
    stride = total_stride(architecture)
    if not architecture.stages or stride < 1 or not _has_whole_maps(architecture):
        raise InvalidInputError(
            f"spec has image_size {architecture.image_size} and a total stride of {stride}; expected a multiple of it"
        )
    if architecture.in_chans < 1 or architecture.stem.width < 2:
        raise InvalidInputError(
            "spec has no input channels or a stem of fewer than 2 channels; expected at least 1 and 2"
        )
    stem = architecture.stem
    norms = STEMS[stem.kind].norms
    if stem.norm not in norms:
        raise InvalidInputError(
            f"spec.stem has norm {stem.norm!r}, which a stem {stem.kind!r} does not use; expected {' or '.join(norms)}"
        )
    in_width = stem.width
    for number, stage in enumerate(architecture.stages):
        if not stage.blocks or stage.width < 1:
            raise InvalidInputError(
                f"spec.stages[{number}] has {len(stage.blocks)} blocks of {stage.width} channels; expected at least 1"
            )
        if stage.stride > 2 or (stage.downsample == "none" and (stage.stride, stage.width) != (1, in_width)):
            raise InvalidInputError(
                f"spec.stages[{number}] has stride {stage.stride}, {in_width} channels before and {stage.width} in "
                "it, and downsample "
                f"{stage.downsample!r}; expected stride 1 or 2, and with 'none' stride 1 and as many channels as before"
            )
        problem = DOWNSAMPLES[stage.downsample].problem(in_width, stage.width, stage.stride)
        if problem:
            raise InvalidInputError(f"spec.stages[{number}] has {problem}")
        in_width = stage.width
        for index, block in enumerate(stage.blocks):
            problem = _block_problem(block, stage.width)
            if problem:
                raise InvalidInputError(f"spec.stages[{number}].blocks[{index}] has {problem}")


def _has_whole_maps(architecture: Architecture) -> bool:
    """Whether each stride divides the side that it meets, or its downsampling rounds up."""
    size, rest = divmod(architecture.image_size, STEMS[architecture.stem.kind].stride)
    is_whole = size > 0 and rest == 0
    for stage in architecture.stages:
        is_whole = is_whole and (size % stage.stride == 0 or DOWNSAMPLES[stage.downsample].rounds_up)
        size = -(-size // stage.stride)
    return is_whole


def _block_problem(block: BlockSpec, width: int) -> str:
    """What keeps a block from being built at this width, or "" for nothing."""
    return (
        _form_problem(block, width) or _unused_field(block) or _options_problem(block) or _mixer_problem(block, width)
    )


def _form_problem(block: BlockSpec, width: int) -> str:
    """Fields that contradict each other; or ""."""
    segments = len(block.group_sizes) + block.conv_branch
    attended = width * len(block.group_sizes) / segments if segments else width
    has_heads = block.attention != "" and HEADS[0] in KINDS[block.attention].fields
    convolves = block.kind in ("conv", "fused_serial", "fused_parallel")
    attends = block.kind in ("attention", "fused_serial", "fused_parallel")
    reads_kernel = block.conv != "" and "kernel" in KINDS[block.conv].fields
    problems = {
        f"kind {block.kind} and conv {block.conv!r}": convolves != (block.conv != ""),
        f"kind {block.kind} and attention {block.attention!r}": attends != (block.attention != ""),
        f"kind {block.kind} and ffn {block.ffn!r}": block.kind == "ffn" and block.ffn == "none",
        f"kernel {block.kernel}; expected an odd number": reads_kernel and block.kernel % 2 == 0,
        "mbconv without conv_ratio; expected at least 1": block.conv == "mbconv" and block.conv_ratio == 0,
        f"attention {block.attention!r} and group_sizes {list(block.group_sizes)}": (block.attention == "group_mix")
        != (block.group_sizes != ()),
        f"group_sizes {list(block.group_sizes)}; expected odd kernels": any(
            kernel % 2 == 0 for kernel in block.group_sizes
        ),
        f"{segments} segments for {width} channels; expected a divisor": segments > 0 and width % segments > 0,
        f"{block.heads} heads of {block.head_dim} channels; expected {attended:g} channels in all": has_heads
        and block.heads * block.head_dim != attended,
        "position 'relative'; expected it with full attention only": block.position == "relative"
        and block.attention != "full",
        f"ffn {block.ffn!r} and ffn_ratio {block.ffn_ratio}": (block.ffn == "none") != (block.ffn_ratio == 0),
    }
    return next((problem for problem, present in problems.items() if present), "")


def _unused_field(block: BlockSpec) -> str:
    """A field with a value that changes nothing in the network, and would give it a second hash; or ""."""
    has_tokens = block.attention != "" or block.ffn != "none"
    used = {"kind", "conv", "attention", "ffn", "ffn_ratio", "branch_scale", "options", "conv_options", "ffn_options"}
    if block.attention or block.kind == "ffn":
        used.add("position")
    if has_tokens:
        used.add("norm")
    for mixer in (block.conv, block.attention):
        if mixer:
            used |= set(KINDS[mixer].fields)
    given = {field.name: getattr(block, field.name) for field in fields(block) if field.name not in used}
    idle = next((name for name, value in given.items() if value != _NEUTRAL[name]), "")
    return f"{idle} {given[idle]!r}, which it does not use; expected {_NEUTRAL[idle]!r}" if idle else ""


def _options_problem(block: BlockSpec) -> str:
    """Options that the part they are for does not take; or ""."""
    given = {
        "options": (block.options, KINDS[block.attention].options if block.attention else {}),
        "conv_options": (block.conv_options, KINDS[block.conv].options if block.conv else {}),
        "ffn_options": (block.ffn_options, FFNS[block.ffn].options if block.ffn != "none" else {}),
    }
    for name, (options, knobs) in given.items():
        if options and not knobs:
            return f"{name} {[list(option) for option in options]}, which it does not use; expected none"
        problem = option_problem(options, knobs)
        if problem:
            return f"{name} {problem}"
    return ""


def _mixer_problem(block: BlockSpec, width: int) -> str:
    """What one of its mixers cannot be built with; or ""."""
    problems = (KINDS[mixer].problem(block, width) for mixer in (block.conv, block.attention) if mixer)
    return next((problem for problem in problems if problem), "")


_NEUTRAL: Mapping[str, Any] = {field.name: field.default for field in fields(BlockSpec)}
