"""The genes of hybrid_layout: which are read when, which combinations are repaired, what the presets become."""

import time

import numpy as np
import pytest

from nas.errors import InvalidInputError
from nas.records import Genotype
from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.spec import Architecture
from search_spaces.hybrid_layout import HybridLayout
from search_spaces.patterns import block_kinds

SPACE = HybridLayout("nano", 32, 3, 10)
PUBLISHED = HybridLayout("tiny", 224, 3, 1000)


def uniform(space: HybridLayout, count: int) -> list[Genotype]:
    rng = np.random.default_rng(3)
    return [{gene.name: gene.values[rng.integers(len(gene.values))] for gene in space.genes} for _ in range(count)]


def built(space: HybridLayout, genotype: Genotype) -> Architecture:
    architecture = space.architecture(space.repair(genotype))
    assert isinstance(architecture, Architecture)
    return architecture


def test_each_pattern_places_attention_where_its_name_says() -> None:
    def letters(pattern: str, period: int, depth: int) -> str:
        return "".join(kind[0] for kind in block_kinds(pattern, period, depth))

    assert letters("conv", 1, 3) == "ccc"
    assert letters("attention", 1, 3) == "aaa"
    assert letters("alternate", 3, 5) == "cacac"
    assert [letters("every_k", k, 6) for k in (1, 2, 3, 4)] == ["aaaaaa", "cacaca", "ccacca", "cccacc"]
    assert [letters("tail_t", t, 3) for t in (1, 2, 3, 4)] == ["cca", "caa", "aaa", "aaa"]
    assert [letters("head_t", t, 3) for t in (1, 2, 3, 4)] == ["acc", "aac", "aaa", "aaa"]
    assert block_kinds("fused_serial", 1, 2) == ("fused_serial",) * 2
    assert block_kinds("fused_parallel", 1, 2) == ("fused_parallel",) * 2


def test_a_gene_that_a_choice_switches_off_leaves_the_architecture_alone() -> None:
    checked = dict.fromkeys(("period", "attention", "partner", "group_sizes", "conv", "kernel", "head_dim"), 0)
    for genotype in map(SPACE.repair, uniform(SPACE, 100)):
        arch_hash = SPACE.architecture(genotype).arch_hash
        for gene in SPACE.genes:
            if gene.has_influence(genotype):
                continue
            for value in gene.values:
                assert SPACE.architecture({**genotype, gene.name: value}).arch_hash == arch_hash, (gene.name, genotype)
                checked[gene.name.partition("_")[2]] += 1
    assert min(checked.values()) > 50


def test_every_value_of_every_gene_can_change_the_architecture() -> None:
    genotypes = uniform(SPACE, 200)
    for gene in SPACE.genes:
        for value in gene.values:
            others = ({**genotype, gene.name: value} for genotype in genotypes if genotype[gene.name] != value)
            pairs = zip((genotype for genotype in genotypes if genotype[gene.name] != value), others, strict=True)
            assert any(built(SPACE, one) != built(SPACE, other) for one, other in pairs), (gene.name, value)


@pytest.mark.parametrize("scale", ["nano", "mobile", "tiny", "small", "base"])
def test_repaired_blocks_fit_their_width_and_map(scale: str) -> None:
    space = HybridLayout(scale, 224, 3, 1000)
    for genotype in uniform(space, 100):
        architecture = built(space, genotype)
        assert Architecture.from_spec(architecture.to_spec()) == architecture
        for stage, size in zip(architecture.stages, architecture.map_sizes(), strict=True):
            for block in stage.blocks:
                assert block.attention != "full" or size * size < 3136
                assert max((block.kernel, *block.group_sizes)) <= max(3, 2 * size - 1)


def test_repair_takes_the_nearest_value() -> None:
    start = SPACE.repair(uniform(SPACE, 1)[0])
    stage = {
        "depth": 2,
        "pattern": "attention",
        "attention": "group_mix",
        "group_sizes": "1-3-5-7",
        "width": 40,
        "head_dim": 16,
    }
    valid = {**start, **{f"stage1_{name}": value for name, value in stage.items()}}
    assert SPACE.repair(valid) == valid
    assert SPACE.repair({**valid, "stage1_head_dim": 24}) == valid | {"stage1_head_dim": 16}
    wide = {**valid, "stage1_pattern": "conv", "stage1_attention": "full", "stage3_pattern": "conv", "stage3_kernel": 7}
    assert SPACE.repair(wide) == wide | {"stage3_kernel": 3}


def test_presets_keep_what_their_papers_are_about() -> None:
    presets = {name: built(PUBLISHED, genotype) for name, genotype in PUBLISHED.presets().items()}

    def kinds(name: str) -> list[set[str]]:
        return [{block.kind for block in stage.blocks} for stage in presets[name].stages]

    def blocks(name: str) -> list[BlockSpec]:
        return [block for stage in presets[name].stages for block in stage.blocks]

    assert kinds("coatnet") == [{"conv"}, {"conv"}, {"attention"}, {"attention"}]
    assert kinds("linglo_alternate") == [{"conv", "attention"}] * 4
    assert kinds("linglo_fused") == [{"fused_serial"}] * 4
    assert all(
        block.attention == "group_mix" and block.group_sizes == (1, 3, 5, 7) for block in blocks("groupmixformer")
    )
    assert all(block.conv == "dwconv" and block.kernel == 7 for block in blocks("convnext"))
    assert kinds("moat")[2:] == [{"fused_serial"}] * 2
    assert all(block.ffn == "none" for block in blocks("moat"))
    shares = [
        sum(block.kind == "attention" for block in stage.blocks) / len(stage.blocks)
        for stage in presets["ascan"].stages
    ]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] >= 0.5


def test_one_genotype_takes_at_most_one_and_a_half_milliseconds() -> None:
    durations = []
    for genotype in uniform(PUBLISHED, 300):
        start = time.perf_counter()
        PUBLISHED.costs(PUBLISHED.architecture(PUBLISHED.repair(genotype)))
        durations.append(time.perf_counter() - start)
    assert np.median(durations) < 0.0015


def test_small_images_get_fewer_stages_and_batch_norm_in_the_stem() -> None:
    spaces = {size: HybridLayout("nano", size, 1, 10) for size in (16, 32, 64, 224)}
    counts = {size: len(built(space, space.presets()["convnext"]).stages) for size, space in spaces.items()}
    assert counts == {16: 2, 32: 3, 64: 4, 224: 4}
    assert built(SPACE, SPACE.presets()["convnext"]).stem.norm == "batch"
    assert built(PUBLISHED, PUBLISHED.presets()["convnext"]).stem.norm == "layer"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (("pico", 32, 3, 10), "unknown scale 'pico'; expected one of nano, mobile, tiny, small, base"),
        (("nano", 28, 3, 10), "image size 28 does not divide into stages; expected a multiple of 8"),
        (("nano", 8, 3, 10), "image size 8 does not divide"),
        (("nano", 32, 0, 10), "0 input channels given; expected at least 1"),
        (("nano", 32, 3, 1), "1 classes given; expected at least 2"),
    ],
)
def test_settings_that_no_network_fits_are_refused(setting: tuple[str, int, int, int], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        HybridLayout(*setting)


def test_space_hash_tells_settings_apart() -> None:
    settings = [
        ("nano", 32, 3, 10),
        ("mobile", 32, 3, 10),
        ("nano", 64, 3, 10),
        ("nano", 32, 1, 10),
        ("nano", 32, 3, 100),
    ]
    assert len({HybridLayout(*setting).space_hash for setting in settings}) == len(settings)


def stages_of(space: HybridLayout, genotype: Genotype) -> list[list[str]]:
    architecture = built(space, genotype)
    return [[block.attention or block.conv for block in stage.blocks] for stage in architecture.stages]


def test_a_partner_takes_the_places_of_the_convolution_in_patterns_of_two_kinds() -> None:
    space = HybridLayout("mobile", 224, 3, 1000)
    start = space.repair(uniform(space, 1)[0])
    of_stage = {"depth": 4, "width": 128, "period": 2, "attention": "channel_group", "partner": "key_only"}
    genotype = start | {f"stage2_{name}": value for name, value in of_stage.items()} | {"stage2_head_dim": 32}
    a, p = "channel_group", "key_only"
    wanted = {"alternate": [p, a, p, a], "every_k": [p, a, p, a], "tail_t": [p, p, a, a], "head_t": [a, a, p, p]}
    for pattern, blocks in wanted.items():
        assert stages_of(space, {**genotype, "stage2_pattern": pattern})[1] == blocks
    for pattern in ("attention", "conv", "fused_serial", "fused_parallel"):
        one = built(space, {**genotype, "stage2_pattern": pattern})
        assert one == built(space, {**genotype, "stage2_pattern": pattern, "stage2_partner": "conv"})


def test_a_partner_must_fit_too() -> None:
    space = HybridLayout("mobile", 224, 3, 1000)
    start = space.repair(uniform(space, 1)[0])
    genotype = start | {"stage1_depth": 2, "stage1_pattern": "alternate", "stage1_attention": "key_only"}
    repaired = space.repair({**genotype, "stage1_partner": "full"})
    assert repaired["stage1_partner"] != "full" or repaired["stage1_pattern"] != "alternate"
    assert HybridLayout("mobile", 224, 3, 1000).repair(repaired) == repaired


@pytest.mark.parametrize(
    ("mixers", "message"),
    [
        ("core,warp", r"--mixers names 'warp'; expected core, efficient, all, or names by commas of mbconv, dwconv"),
        ("", r"--mixers names ''"),
        ("full", r"--mixers 'full' has no conv; expected at least one attention and one convolution"),
        ("mbconv,dwconv", r"has no attention"),
    ],
)
def test_mixers_that_make_no_space_are_refused(mixers: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        HybridLayout("nano", 32, 1, 10, mixers)


def test_mixers_are_the_values_of_the_genes_and_part_of_the_hash() -> None:
    core = HybridLayout("nano", 32, 1, 10, "core")
    named = HybridLayout("nano", 32, 1, 10, " dwconv,full, group_mix,key_only,mbconv,mbconv")
    genes = {gene.name: gene.values for gene in core.genes}
    assert genes["stage1_attention"] == ("key_only", "group_mix", "full")
    assert genes["stage1_partner"] == ("conv", "key_only", "group_mix", "full")
    assert core.mixers == named.mixers == "mbconv,dwconv,key_only,group_mix,full"
    assert core.space_hash == named.space_hash != SPACE.space_hash
    one = HybridLayout("nano", 32, 1, 10, "lka,dwconv")
    assert {name for stage in stages_of(one, uniform(one, 1)[0]) for name in stage} <= {"lka", "dwconv"}
    assert one.slowest() and one.largest() and "convnext" in one.presets() and "groupmixformer" not in one.presets()
