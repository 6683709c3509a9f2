"""Architecture as JSON: complete, canonical, and refused with a reason where it cannot be built."""

from dataclasses import replace
from typing import Any

import pytest

from nas.errors import InvalidInputError
from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.spec import Architecture, total_stride

CONV = BlockSpec("conv", conv="dwconv", kernel=7, conv_ratio=4)
MIX = BlockSpec(
    "attention",
    attention="group_mix",
    heads=8,
    head_dim=8,
    group_sizes=(1, 3, 5, 7),
    conv_branch=True,
    position="cpe",
    ffn="mlp",
    ffn_ratio=4,
)
SERIAL = BlockSpec("fused_serial", conv="mbconv", kernel=3, conv_ratio=4, attention="full", heads=4, head_dim=40)
ARCHITECTURE = Architecture(
    stem=StemSpec("conv", 80, "batch"),
    stages=(StageSpec(80, "none", 1, (CONV, MIX)), StageSpec(160, "separable", 2, (SERIAL,))),
    head_norm="batch",
    image_size=32,
    in_chans=3,
    num_classes=10,
)


def test_sizes_follow_from_the_strides() -> None:
    assert ARCHITECTURE.layout() == "conv stem | 80: D7 G1357 | 160: M3>F"
    assert total_stride(ARCHITECTURE) == 8
    assert ARCHITECTURE.map_sizes() == (8, 4)


def test_hash_is_of_everything_that_is_built() -> None:
    changed = [
        replace(ARCHITECTURE, image_size=64),
        replace(ARCHITECTURE, in_chans=1),
        replace(ARCHITECTURE, num_classes=11),
        replace(ARCHITECTURE, head_norm="layer"),
        replace(ARCHITECTURE, stem=replace(ARCHITECTURE.stem, kind="patchify")),
        replace(ARCHITECTURE, stages=ARCHITECTURE.stages[:1]),
        replace(ARCHITECTURE, stages=(replace(ARCHITECTURE.stages[0], blocks=(MIX, CONV)), ARCHITECTURE.stages[1])),
    ]
    assert len({architecture.arch_hash for architecture in [ARCHITECTURE, *changed]}) == len(changed) + 1


def test_hash_of_recorded_studies_stays_what_it_was() -> None:
    assert ARCHITECTURE.arch_hash == "d5bf97fe6895c3db33b19befc10e55c2c25ca4dff5c6cc24e70e54731ac9c68d"


def at(path: str, value: Any) -> dict[str, Any]:
    """The spec of ARCHITECTURE with the value at a dotted path replaced; None removes the key."""
    spec = ARCHITECTURE.to_spec()
    place: Any = spec
    *parents, last = path.split(".")
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return spec


BLOCK = "stages.0.blocks.1"
KEY_ONLY = BlockSpec("attention", attention="key_only", heads=8, head_dim=10, position="cpe", ffn="mlp", ffn_ratio=4)


def key_only(*options: list[Any]) -> dict[str, Any]:
    """The spec of ARCHITECTURE with key-only attention and these options in its second block."""
    architecture = replace(
        ARCHITECTURE, stages=(replace(ARCHITECTURE.stages[0], blocks=(CONV, KEY_ONLY)), ARCHITECTURE.stages[1])
    )
    spec: Any = architecture.to_spec()
    spec["stages"][0]["blocks"][1]["options"] = [*options]
    return spec


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (at("head_norm", None), r"^spec is \['image_size'.*expected an object with exactly the keys"),
        (at("colour", "red"), r"expected an object with exactly the keys"),
        (at("stages", 3), r"spec\.stages is 3; expected a list"),
        (at("stem", []), r"spec\.stem is \[\]; expected an object"),
        (
            at("stem.kind", "moat"),
            r"spec\.stem has norm 'batch', which a stem 'moat' does not use; expected batch_1e-3",
        ),
        (at("stem.kind", "cement"), r"spec\.stem\.kind is 'cement'; expected one of .*'conv', .*'overlap', 'patchify'"),
        (at("image_size", "32"), r"spec\.image_size is '32'; expected a value of type int"),
        (at(f"{BLOCK}.heads", True), r"spec\.stages\[0\]\.blocks\[1\]\.heads is True; expected a value of type int"),
        (at(f"{BLOCK}.se_ratio", float("nan")), r"expected a finite number that is not negative"),
        (at(f"{BLOCK}.heads", -8), r"expected a finite number that is not negative"),
        (at("image_size", 30), r"image_size 30 and a total stride of 8; expected a multiple of it"),
        (at("stages", []), r"total stride of 4"),
        (at("in_chans", 0), r"no input channels"),
        (at("stages.0.blocks", []), r"spec\.stages\[0\] has 0 blocks"),
        (at(f"{BLOCK}.kind", "conv"), r"spec\.stages\[0\]\.blocks\[1\] has kind conv and conv ''"),
        (at(f"{BLOCK}.attention", ""), r"has kind attention and attention ''"),
        (at(f"{BLOCK}.attention", "full"), r"has attention 'full' and group_sizes \[1, 3, 5, 7\]"),
        (at(f"{BLOCK}.group_sizes", [1, 2, 5, 7]), r"expected odd kernels"),
        (at(f"{BLOCK}.group_sizes", [1, 3]), r"3 segments for 80 channels; expected a divisor"),
        (at(f"{BLOCK}.head_dim", 16), r"8 heads of 16 channels; expected 64 channels in all"),
        (at(f"{BLOCK}.ffn", "none"), r"has ffn 'none' and ffn_ratio 4"),
        (at("stages.0.blocks.0.kernel", 4), r"kernel 4; expected an odd number"),
        (at("stages.1.blocks.0.conv_ratio", 0), r"mbconv without conv_ratio"),
        (at("stages.0.blocks.0.layer_scale", 10**400), r"expected a finite number that is not negative"),
        (at(f"{BLOCK}.group_sizes", []), r"has attention 'group_mix' and group_sizes \[\]"),
        (
            at("stem.width", 40),
            r"spec\.stages\[0\] has stride 1, 40 channels before and 80 in it, and downsample 'none'",
        ),
        (
            at("stages.1.downsample", "none"),
            r"spec\.stages\[1\] has stride 2, 80 channels before and 160 in it, and downsample 'none'",
        ),
        (at("stages.1.stride", 4), r"spec\.stages\[1\] has stride 4"),
        (at(f"{BLOCK}.position", "relative"), r"has position 'relative'; expected it with full attention only"),
        (at(f"{BLOCK}.options", [["gate", "channel"]]), r"has options .*, which it does not use"),
        (
            key_only(["gate", "channel", "x"]),
            r"has options \[\['gate', 'channel', 'x'\]\]; expected sorted pairs",
        ),
        (key_only(["gate", "head"]), r"has options \[\['gate', 'head'\]\]; expected sorted pairs"),
        (
            key_only(["colour", "red"]),
            r"expected sorted pairs of gate as channel; source as bottleneck; normaliser as sigmoid or l2",
        ),
        (key_only(["source", "bottleneck"], ["gate", "channel"]), r"expected sorted pairs"),
        (key_only(["gate", 3]), r"options\[0\]\[1\] is 3; expected a value of type str"),
    ],
)
def test_a_spec_that_cannot_be_built_is_refused_with_the_reason(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Architecture.from_spec(spec)


@pytest.mark.parametrize(
    ("block", "field", "value"),
    [
        (0, "heads", 4),
        (0, "head_dim", 20),
        (0, "position", "cpe"),
        (0, "se_ratio", 0.25),
        (1, "kernel", 3),
        (1, "conv_ratio", 4),
        (1, "layer_scale", 1e-6),
    ],
)
def test_a_field_that_a_block_does_not_use_must_be_neutral(block: int, field: str, value: Any) -> None:
    # Otherwise one network would have two hashes.
    with pytest.raises(InvalidInputError, match=rf"blocks\[{block}\] has {field} {value!r}, which it does not use"):
        Architecture.from_spec(at(f"stages.0.blocks.{block}.{field}", value))


def test_equal_numbers_have_one_hash() -> None:
    whole = at("stages.0.blocks.0.layer_scale", 0)
    negative = at("stages.0.blocks.0.layer_scale", -0.0)
    assert {Architecture.from_spec(spec).arch_hash for spec in (whole, negative)} == {ARCHITECTURE.arch_hash}


def test_from_spec_gives_back_what_was_written() -> None:
    assert Architecture.from_spec(ARCHITECTURE.to_spec()) == ARCHITECTURE


def test_options_are_part_of_the_architecture_and_absent_where_none_is_chosen() -> None:
    plain = Architecture.from_spec(key_only())
    chosen = Architecture.from_spec(key_only(["combine", "value"], ["gate", "channel"]))
    assert "options" not in plain.to_spec()["stages"][0]["blocks"][1]
    assert chosen.stages[0].blocks[1].options == (("combine", "value"), ("gate", "channel"))
    assert Architecture.from_spec(chosen.to_spec()) == chosen and chosen.arch_hash != plain.arch_hash
