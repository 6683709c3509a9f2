"""Traits of a hybrid layout say what stands in each stage."""

import numpy as np
import pytest

from nas.records import JSON, Genotype
from nas.surrogates.genes import GeneLevels
from search_spaces.hybrid_layout import HybridLayout

SPACE = HybridLayout("nano", 32, 1, 10)
EVERY = HybridLayout("nano", 32, 1, 10, "all")


def traits(space: HybridLayout, genotype: Genotype) -> dict[str, int]:
    levels = GeneLevels(space.genes)
    row = levels.canonical(levels.rows([genotype]))
    given = space.traits.levels(row)[0].tolist()
    return {trait.name: level for trait, level in zip(space.traits.described, given, strict=True)}


def stage(**genes: str | int) -> Genotype:
    """The second stage, which has three blocks, with these genes; every other gene has its first value."""
    first = {gene.name: gene.values[0] for gene in SPACE.genes}
    return SPACE.repair({**first, "stage2_depth": 3, **{f"stage2_{name}": value for name, value in genes.items()}})


def share(spec: JSON, field: str, value: str) -> float:
    blocks = spec["stages"][1]["blocks"]
    return float(np.mean([block[field] == value for block in blocks]))


@pytest.mark.parametrize("space", [SPACE, EVERY], ids=["core", "all"])
def test_shares_are_those_of_the_blocks_that_are_built(space: HybridLayout) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        genotype = space.sample(rng)
        spec = space.architecture(genotype).to_spec()
        found = traits(space, genotype)
        for name in ("conv", "attention", "fused_serial", "fused_parallel", "mbconv", "group_mix", "key_only"):
            field = {"mbconv": "conv", "group_mix": "attention", "key_only": "attention"}.get(name, "kind")
            built = share(spec, field, name)
            level = found[f"stage2_share_{name}"]
            described = next(t for t in space.traits.described if t.name == f"stage2_share_{name}")
            assert (level == 0) == (built == 0), (name, genotype)
            assert (level == len(described.values) - 1) == (built == 1), (name, genotype)
        assert found["stage2_first"] == ["conv", "attention", "fused_serial", "fused_parallel"].index(
            spec["stages"][1]["blocks"][0]["kind"]
        )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"pattern": "alternate", "partner": "conv"}, {"pattern": "every_k", "period": 2, "partner": "conv"}),
        ({"pattern": "head_t", "period": 3}, {"pattern": "attention"}),
        (
            {"pattern": "alternate", "attention": "full", "partner": "full"},
            {"pattern": "attention", "attention": "full"},
        ),
        ({"pattern": "every_k", "period": 4, "partner": "conv"}, {"pattern": "conv"}),
        (
            {"pattern": "head_t", "period": 1, "attention": "full", "partner": "key_only"},
            {"pattern": "tail_t", "period": 2, "attention": "key_only", "partner": "full"},
        ),
    ],
)
def test_two_ways_to_say_one_network_are_one(one: Genotype, other: Genotype) -> None:
    first, second = stage(**one), stage(**other)
    assert first != second
    assert SPACE.architecture(first).arch_hash == SPACE.architecture(second).arch_hash
    assert traits(SPACE, first) == traits(SPACE, second)


def test_a_size_counts_only_where_a_block_reads_it() -> None:
    convolution = traits(SPACE, stage(pattern="conv", kernel=5))
    attention = traits(SPACE, stage(pattern="attention", attention="group_mix", kernel=5))
    names = ("stage2_kernel", "stage2_head_dim", "stage2_group_sizes")
    assert [convolution[name] > 0 for name in names] == [True, False, False]
    assert [attention[name] > 0 for name in names] == [False, True, True]


def test_the_feed_forward_of_the_stem_is_the_one_of_that_name() -> None:
    first: Genotype = {gene.name: gene.values[0] for gene in EVERY.genes}
    genotype = {**first, "stem": "conv", "stage1_pattern": "attention", "stage1_attention": "key_only"}
    ffns = [EVERY.repair({**genotype, "stage1_ffn": ffn}) for ffn in ("frame", "mlp", "mlp_dw")]
    stem, same, other = (traits(EVERY, each)["stage1_ffn"] for each in ffns)
    assert 0 < stem == same != other
