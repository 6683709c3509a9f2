"""A study of an earlier version, whose space had fewer genes and values, read with the space of today."""

from dataclasses import replace

import numpy as np
import pytest

from nas.errors import InvalidInputError
from nas.protocols import SearchSpace
from nas.records import Genotype, TrialFacts, Value
from search_spaces.recorded import RecordedSpace, as_recorded
from search_spaces.registry import make_space
from tests.contracts.space_contract import SpaceContract
from tests.samples import study_record
from tests.samples import trial as sample_trial

TODAY = make_space("hybrid_layout", "nano", 32, 1, 10)
LATER = {
    "stage1_attention": ("lka", "channel_group"),
    "stage2_attention": ("lka", "group_mix"),
    "stage3_attention": ("lka",),
    "stage1_group_sizes": ("1-3-5-7-9",),
}
"""Gene -> values that came later; with group_mix the gene stage2_group_sizes came to stage 2, and stage 3 got a
partner."""
VALUES: dict[str, tuple[Value, ...]] = {
    gene.name: tuple(value for value in gene.values if value not in LATER.get(gene.name, ()))
    for gene in TODAY.genes
    if gene.name not in ("stage2_group_sizes", "stage3_partner")
}
STUDY = replace(study_record(), space="hybrid_layout", space_hash="e" * 64)


def recorded_trials(count: int = 20) -> tuple[list[TrialFacts], dict[int, Genotype]]:
    """Random genotypes of the former space, with the architectures that they meant."""
    rng = np.random.default_rng(0)
    facts: list[TrialFacts] = []
    genotypes: dict[int, Genotype] = {}
    while len(facts) < count:
        whole = TODAY.sample(rng)
        genotype = {name: value for name, value in whole.items() if name in VALUES}
        if any(value not in VALUES[name] for name, value in genotype.items()):
            continue
        whole = {gene.name: genotype.get(gene.name, gene.values[0]) for gene in TODAY.genes}
        if TODAY.repair(whole) != whole:
            continue
        number = len(facts)
        architecture = TODAY.architecture(whole)
        genotypes[number] = genotype
        known = {"arch_hash": architecture.arch_hash, "costs": TODAY.costs(architecture)}
        facts.append(replace(sample_trial(number, 0.5, 1.0), **known))
    return facts, genotypes


FACTS, GENOTYPES = recorded_trials()


class TestRecordedSpace(SpaceContract):
    test_hashes_are_the_same_in_another_process_that_never_imports_torch = None
    """It makes the space there by its name, and this one has none of its own."""

    @pytest.fixture
    def space(self) -> SearchSpace:
        return as_recorded(TODAY, STUDY, VALUES, FACTS, GENOTYPES)


def test_the_space_itself_is_given_where_nothing_has_changed() -> None:
    assert as_recorded(TODAY, replace(STUDY, space_hash=TODAY.space_hash), {}, FACTS, GENOTYPES) is TODAY


def test_it_has_the_recorded_genes_and_values_and_gives_the_recorded_architectures() -> None:
    space = as_recorded(TODAY, STUDY, VALUES, FACTS, GENOTYPES)
    assert isinstance(space, RecordedSpace)
    assert {gene.name: gene.values for gene in space.genes} == VALUES
    assert [gene.name for gene in space.genes] == [gene.name for gene in TODAY.genes if gene.name in VALUES]
    for trial in FACTS:
        assert space.architecture(GENOTYPES[trial.trial_number]).arch_hash == trial.arch_hash
        assert space.repair(GENOTYPES[trial.trial_number]) == GENOTYPES[trial.trial_number]
    for gene in space.genes:
        for other, values in gene.only_if:
            assert set(values) <= set(VALUES[other])


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        ({**VALUES, "stage9_depth": (1, 2)}, FACTS),
        ({**VALUES, "stem": ("conv", "sticky")}, FACTS),
        (VALUES, [*FACTS[:5], replace(FACTS[5], arch_hash="0" * 64), *FACTS[6:]]),
        (VALUES, [*FACTS[:5], replace(FACTS[5], costs=replace(FACTS[5].costs, macs=1)), *FACTS[6:]]),
    ],
    ids=["a gene is gone", "a value is gone", "another architecture", "other costs"],
)
def test_a_space_whose_genes_mean_something_else_is_refused(
    values: dict[str, tuple[Value, ...]], facts: list[TrialFacts]
) -> None:
    with pytest.raises(
        InvalidInputError, match=r"'sample' searched hybrid_layout eeee.*mean something else.*version 0\.1\.0"
    ):
        as_recorded(TODAY, STUDY, values, facts, GENOTYPES)
