"""What a space of genes and a function adds to its function: repair by a rule, a hash that follows the meaning."""

from typing import Any

import numpy as np
import pytest

from nas.errors import InvalidInputError
from nas.records import Genotype
from search_spaces.conv_only import GENES, PRESETS, conv_only
from search_spaces.mapped import MappedSpace

ORIGINAL: Any = conv_only("nano", 32, 1, 10)


def space(**changes: Any) -> MappedSpace:
    parts = {"genes": GENES, "network": ORIGINAL.architecture, "presets": PRESETS, **changes}
    return MappedSpace("mine", "nano", 32, 1, 10, **parts)


def is_square(genotype: Genotype) -> bool:
    return genotype["depth"] == genotype["width"]


def test_a_rule_holds_for_samples_mutants_presets_and_costs() -> None:
    ruled = space(is_valid=is_square, presets={"a": {**PRESETS["convnext"], "depth": "low"}})
    rng = np.random.default_rng(0)
    genotype = ruled.sample(rng)
    for _ in range(30):
        genotype = ruled.mutate(genotype, rng)
        assert is_square(genotype)
    assert is_square(ruled.presets()["a"])
    uneven = {**PRESETS["convnext"], "depth": "low"}
    assert ruled.repair(uneven) == {**uneven, "depth": "high"}, "the first gene that helps"
    assert ruled.genotype_costs(uneven) == ruled.costs(ruled.architecture(ruled.repair(uneven)))


def test_the_hash_follows_name_genes_and_version() -> None:
    spaces = (ORIGINAL, space(), space(version=2), space(genes=GENES[:-1], presets={}))
    assert len({made.space_hash for made in spaces}) == 4
    assert space().space_hash == space().space_hash


def test_a_preset_that_is_no_genotype_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="gene kernel is 4; expected one of 3, 5, 7"):
        space(presets={"wrong": {**PRESETS["convnext"], "kernel": 4}})
