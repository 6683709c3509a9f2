"""Closed-form costs against the built network: parameters exact, multiply-adds those of fvcore."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.costs import count_macs
from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.costs import costs
from search_spaces.architecture.kinds.kind import ATTENTION
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.spec import Architecture
from search_spaces.build import build_model
from search_spaces.published.families import PRESETS
from search_spaces.registry import make_space
from search_spaces.scales import SCALES


def random_architectures(
    name: str, scale: str, image_size: int, count: int, mixers: str | None = None
) -> list[Architecture]:
    space = make_space(name, scale, image_size, 3, 100, mixers)
    rng = np.random.default_rng(5)
    architectures = [space.architecture(space.sample(rng)) for _ in range(count)]
    architectures += [space.architecture(genotype) for genotype in space.presets().values()] if scale == "nano" else []
    return [architecture for architecture in architectures if isinstance(architecture, Architecture)]


def count_parameters(architecture: Architecture) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_model(architecture).parameters())


@pytest.mark.parametrize(
    ("name", "scale", "image_size"),
    [("hybrid_layout", scale, 32 if scale == "nano" else 224) for scale in SCALES] + [("conv_only", "nano", 32)],
)
def test_param_count_is_that_of_the_built_network(name: str, scale: str, image_size: int) -> None:
    for architecture in random_architectures(name, scale, image_size, 20):
        assert costs(architecture).param_count == count_parameters(architecture), architecture.layout()


@pytest.mark.parametrize(("scale", "image_size", "count"), [("nano", 32, 12), ("mobile", 64, 4)])
def test_macs_are_those_of_fvcore(scale: str, image_size: int, count: int) -> None:
    for architecture in random_architectures("hybrid_layout", scale, image_size, count):
        assert costs(architecture).macs == count_macs(architecture), architecture.layout()


@pytest.mark.parametrize(("scale", "image_size"), [("nano", 32), ("mobile", 64), ("base", 224)])
def test_params_of_all_mixers_are_those_of_the_built_network(scale: str, image_size: int) -> None:
    for architecture in random_architectures("hybrid_layout", scale, image_size, 30, "all"):
        assert costs(architecture).param_count == count_parameters(architecture), architecture.layout()


@pytest.mark.parametrize(("scale", "image_size", "count"), [("nano", 32, 25), ("mobile", 64, 6)])
def test_macs_of_all_mixers_are_those_of_fvcore_within_a_percent(scale: str, image_size: int, count: int) -> None:
    for architecture in random_architectures("hybrid_layout", scale, image_size, count, "all"):
        assert costs(architecture).macs == pytest.approx(count_macs(architecture), rel=0.01), architecture.layout()


def test_costs_of_what_only_a_spec_can_say() -> None:
    """Layer scale, no classes, a separable first stage: GroupMixFormer-T's first stage with a ConvNeXt block behind
    it."""
    mix = BlockSpec(
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
    scaled = BlockSpec("conv", conv="dwconv", kernel=7, conv_ratio=4, layer_scale=1e-6)
    stages = (StageSpec(80, "separable", 1, (mix,) * 4), StageSpec(96, "patchify", 2, (scaled,)))
    architecture = Architecture(StemSpec("conv", 80, "batch"), stages, "layer", 32, 3, 0)
    assert costs(architecture).param_count == count_parameters(architecture)
    assert costs(architecture).macs == count_macs(architecture)
    # Published figures of GroupMixFormer-T: stem 30,240, first patch embedding 7,280, four blocks 336,320.
    first = Architecture(StemSpec("conv", 80, "batch"), stages[:1], "batch", 32, 3, 0)
    assert costs(first).param_count == 30_240 + 7_280 + 336_320 + 2 * 80


@pytest.mark.parametrize(
    "name", ["linglo_b0", "linglo_b0_grafted", "coatnet_0", "moat_tiny_0", "moat_0", "maxvit_tiny", "van_b0"]
)
def test_macs_of_presets_are_those_of_fvcore(name: str) -> None:
    architecture = replace(PRESETS[name].architecture, image_size=64)
    assert costs(architecture).macs == count_macs(architecture)
    assert costs(architecture).param_count == count_parameters(architecture)


@pytest.mark.parametrize(
    "options",
    [(), *(((knob, value),) for knob, values in (KINDS["key_only"].options or {}).items() for value in values[1:])],
    ids=str,
)
@pytest.mark.parametrize("gate", ["head", "channel"])
def test_costs_of_every_knob_of_key_only_attention(options: tuple[tuple[str, str], ...], gate: str) -> None:
    chosen = tuple(sorted({**({"gate": gate} if gate != "head" else {}), **dict(options)}.items()))
    block = BlockSpec(
        "attention", attention="key_only", heads=2, head_dim=16, ffn="mlp_dw", ffn_ratio=2, options=chosen
    )
    architecture = Architecture(
        StemSpec("conv", 32, "batch"), (StageSpec(32, "mbconv", 1, (block,)),), "layer", 32, 3, 10
    )
    assert Architecture.from_spec(architecture.to_spec()) == architecture
    assert costs(architecture).param_count == count_parameters(architecture)
    assert costs(architecture).macs == count_macs(architecture)


@pytest.mark.parametrize(("stem", "width"), [(7, 61), (11, 15), (64, 96)])
def test_costs_of_a_strided_mbconv_of_any_widths(stem: int, width: int) -> None:
    stage = StageSpec(width, "mbconv", 1, (BlockSpec("conv", conv="dwconv", kernel=3),))
    architecture = Architecture(StemSpec("patchify", stem, "batch"), (stage,), "layer", 32, 3, 10)
    assert costs(architecture).param_count == count_parameters(architecture)


def test_every_attention_is_among_the_random_architectures() -> None:
    seen = {
        block.attention
        for architecture in random_architectures("hybrid_layout", "nano", 32, 60, "all")
        for stage in architecture.stages
        for block in stage.blocks
    }
    assert {name for name, kind in KINDS.items() if kind.role == ATTENTION} <= seen


def test_costs_take_less_than_a_millisecond() -> None:
    durations = []
    for architecture in random_architectures("hybrid_layout", "base", 224, 100):
        start = time.perf_counter()
        costs(architecture)
        durations.append(time.perf_counter() - start)
    assert np.median(durations) < 0.001
