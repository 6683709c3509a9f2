"""Spaces of genes and a cost function."""

import numpy as np
import pytest

from nas.records import JSON, Costs, Gene
from search_spaces.plain import PlainSpace
from tests.contracts.space_contract import raw_genotypes

GENES = (
    Gene("depth", (1, 2, 3), ordered=True, meaning="layers"),
    Gene("width", (8, 16), ordered=True, meaning="channels"),
    Gene("skip", ("none", "add"), ordered=False, meaning="around each layer", only_if=(("depth", (2, 3)),)),
)


def count(spec: JSON) -> Costs:
    return Costs(spec["depth"] * spec["width"], 100 * spec["depth"] * spec["width"] ** 2)


@pytest.fixture
def space() -> PlainSpace:
    return PlainSpace("own", GENES, count, starters={"small": {"depth": 1, "width": 8, "skip": "none"}})


def test_a_gene_without_influence_makes_no_other_architecture(space: PlainSpace) -> None:
    first, second = (space.architecture({"depth": 1, "width": 8, "skip": skip}) for skip in ("none", "add"))
    assert first == second and first.arch_hash == second.arch_hash
    assert first.to_spec() == {"depth": 1, "width": 8}
    assert len({space.architecture(genotype).arch_hash for genotype in raw_genotypes(space, 200)}) == 10


def test_samples_and_mutants_are_valid(space: PlainSpace) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        genotype = space.sample(rng)
        mutant = space.mutate(genotype, rng)
        assert space.repair(genotype) == genotype and space.repair(mutant) == mutant
        assert space.architecture(mutant) != space.architecture(genotype)


def test_costs_parts_and_the_largest_agree(space: PlainSpace) -> None:
    largest = space.largest()
    assert largest.to_spec()["depth"] == 3 and largest.to_spec()["width"] == 16
    assert space.parts(largest) == [("whole", space.costs(largest).macs)]
    assert "depth 3, width 16" in space.draw(largest)
    assert space.presets() == {"small": {"depth": 1, "width": 8, "skip": "none"}}


def test_the_hash_follows_genes_and_name(space: PlainSpace) -> None:
    assert space.space_hash == PlainSpace("own", GENES, count).space_hash
    assert space.space_hash != PlainSpace("other", GENES, count).space_hash
    assert space.space_hash != PlainSpace("own", GENES[:2], count).space_hash
