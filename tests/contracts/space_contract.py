"""What every search space over our blocks promises.

A test class inherits it and gives `given`, what --space takes; and `setting`, where one scale and size are not enough.
"""

import json
import subprocess
import sys
from itertools import product

import numpy as np
import pytest

from nas.errors import InvalidInputError
from nas.protocols import SearchSpace, traits_of
from nas.records import Genotype
from nas.surrogates.genes import GeneLevels
from search_spaces.architecture.spec import Architecture
from search_spaces.registry import make_space

SAMPLES = 40

HASHES = """
import json, sys
from search_spaces.registry import make_space
name, scale, image_size, genotypes = json.loads(sys.argv[1])
space = make_space(name, scale, image_size, 3, 10)
print(json.dumps([space.space_hash, *(space.architecture(space.repair(genotype)).arch_hash for genotype in genotypes)]))
print(sorted({"torch", "timm"} & set(sys.modules)))
"""


def raw_genotypes(space: SearchSpace, count: int = SAMPLES) -> list[Genotype]:
    """Unrepaired: every gene uniform."""
    rng = np.random.default_rng(7)
    return [{gene.name: gene.values[rng.integers(len(gene.values))] for gene in space.genes} for _ in range(count)]


def changed_genes(before: Genotype, after: Genotype) -> set[str]:
    return {name for name in before if before[name] != after[name]}


class SpaceContract:
    @pytest.fixture
    def setting(self) -> tuple[str, int]:
        """Scale and image size."""
        return "nano", 32

    @pytest.fixture
    def space(self, given: str, setting: tuple[str, int]) -> SearchSpace:
        scale, image_size = setting
        return make_space(given, scale, image_size, 3, 10)

    def test_genes_are_distinct_choices_of_text_or_whole_numbers(self, space: SearchSpace) -> None:
        assert len({gene.name for gene in space.genes}) == len(space.genes)
        for gene in space.genes:
            assert len(set(gene.values)) == len(gene.values) >= 1, gene
            assert {type(value) for value in gene.values} <= {str, int}, gene
            assert gene.meaning
        assert space.num_genotypes == np.prod([len(gene.values) for gene in space.genes], dtype=object)

    def test_a_gene_has_influence_only_where_it_says_so(self, space: SearchSpace) -> None:
        by_name = {gene.name: gene for gene in space.genes}
        assert {name for gene in space.genes for name, _ in gene.only_if} <= set(by_name)
        levels = GeneLevels(space.genes)
        for genotype in raw_genotypes(space, 10 * SAMPLES):
            valid = space.repair(genotype)
            row = levels.canonical(levels.rows([valid]))
            canonical = levels.genotype(row[0].tolist())
            assert space.repair(canonical) == canonical
            assert space.architecture(canonical).arch_hash == space.architecture(valid).arch_hash, changed_genes(
                valid, canonical
            )
            assert np.array_equal(levels.canonical(row), row)

    def test_equal_networks_have_equal_traits(self, space: SearchSpace) -> None:
        traits = traits_of(space)
        if traits is None:
            return
        levels = GeneLevels(space.genes)
        rng = np.random.default_rng(3)
        num_values = np.array([len(trait.values) for trait in traits.described])
        equal = 0
        for genotype in raw_genotypes(space, 30 * SAMPLES):
            valid = space.repair(genotype)
            gene = space.genes[rng.integers(len(space.genes))]
            other = space.repair({**valid, gene.name: gene.values[rng.integers(len(gene.values))]})
            first, second, raw = traits.levels(levels.canonical(levels.rows([valid, other, genotype])))
            assert (raw >= 0).all() and (raw < num_values).all()
            if space.architecture(valid).arch_hash == space.architecture(other).arch_hash:
                assert np.array_equal(first, second), changed_genes(valid, other)
                equal += valid != other
        assert equal > 0, "no pair of genotypes tested anything"

    def test_samples_are_valid_and_have_the_genes_in_order(self, space: SearchSpace) -> None:
        rng = np.random.default_rng(0)
        for _ in range(SAMPLES):
            genotype = space.sample(rng)
            assert list(genotype) == [gene.name for gene in space.genes]
            assert space.repair(genotype) == genotype

    def test_sampling_follows_the_generator(self, space: SearchSpace) -> None:
        first, again = ([space.sample(np.random.default_rng(seed)) for seed in range(5)] for _ in range(2))
        assert first == again

    def test_repair_is_idempotent_pure_and_changes_as_few_genes_as_one_change_can_show(
        self, space: SearchSpace
    ) -> None:
        for genotype in raw_genotypes(space):
            before = dict(genotype)
            repaired = space.repair(genotype)
            assert genotype == before
            assert space.repair(repaired) == repaired
            if len(changed_genes(genotype, repaired)) > 1:
                others = [
                    (gene.name, value) for gene in space.genes for value in gene.values if value != genotype[gene.name]
                ]
                neighbours = [{**genotype, name: value} for name, value in others]
                assert not any(space.repair(neighbour) == neighbour for neighbour in neighbours), genotype

    def test_repair_refuses_what_is_no_genotype(self, space: SearchSpace) -> None:
        genotype = space.sample(np.random.default_rng(0))
        name = space.genes[0].name
        with pytest.raises(InvalidInputError, match=rf"gene {name} is 'nonsense'; expected one of"):
            space.repair({**genotype, name: "nonsense"})
        with pytest.raises(InvalidInputError, match=rf"lacks \['{name}'\]"):
            space.repair({key: value for key, value in genotype.items() if key != name})
        with pytest.raises(InvalidInputError, match=r"unknown \['colour'\]"):
            space.repair({**genotype, "colour": "red"})

    def test_parts_add_up_to_the_costs(self, space: SearchSpace) -> None:
        for genotype in raw_genotypes(space):
            architecture = space.architecture(space.repair(genotype))
            parts = space.parts(architecture)
            assert sum(macs for _, macs in parts) == space.costs(architecture).macs
            blocks = sum(len(stage["blocks"]) for stage in architecture.to_spec()["stages"])
            assert len(parts) >= blocks + 2, "stem and head"

    def test_costs_of_a_genotype_are_those_of_its_nearest_valid_architecture(self, space: SearchSpace) -> None:
        for genotype in raw_genotypes(space):
            assert space.genotype_costs(genotype) == space.costs(space.architecture(space.repair(genotype)))

    def test_spec_tells_the_whole_architecture(self, space: SearchSpace) -> None:
        for genotype in raw_genotypes(space):
            architecture = space.architecture(space.repair(genotype))
            spec = json.loads(json.dumps(architecture.to_spec()))
            assert Architecture.from_spec(spec) == architecture
            assert Architecture.from_spec(spec).arch_hash == architecture.arch_hash
            assert "\n" not in architecture.layout()

    def test_mutation_is_valid_and_another_architecture(self, space: SearchSpace) -> None:
        rng = np.random.default_rng(1)
        for genotype in raw_genotypes(space):
            parent = space.repair(genotype)
            child = space.mutate(parent, rng)
            assert space.repair(child) == child
            assert space.architecture(child).arch_hash != space.architecture(parent).arch_hash

    def test_presets_are_valid_and_distinct(self, space: SearchSpace) -> None:
        presets = space.presets()
        assert len(presets) >= 2
        assert all(space.repair(genotype) == genotype for genotype in presets.values())
        assert len({space.architecture(genotype).arch_hash for genotype in presets.values()}) == len(presets)

    def test_largest_has_more_macs_than_any_sample(self, space: SearchSpace) -> None:
        macs = [space.costs(space.architecture(space.repair(genotype))).macs for genotype in raw_genotypes(space)]
        assert space.costs(space.largest()).macs >= max(macs)

    def test_hashes_are_the_same_in_another_process_that_never_imports_torch(
        self, given: str, space: SearchSpace
    ) -> None:
        genotypes = raw_genotypes(space, 5)
        image_size = space.largest().to_spec()["image_size"]
        argument = json.dumps([given, space.scale, image_size, genotypes])
        done = subprocess.run(
            [sys.executable, "-c", HASHES, argument], capture_output=True, text=True, check=True, timeout=60
        )
        hashes, heavy = done.stdout.splitlines()
        assert json.loads(hashes) == [
            space.space_hash,
            *(space.architecture(space.repair(g)).arch_hash for g in genotypes),
        ]
        assert heavy == "[]"

    def test_drawing_has_a_box_per_block(self, space: SearchSpace) -> None:
        architecture = space.largest()
        svg = space.draw(architecture)
        assert svg.startswith("<svg") and svg.endswith("</svg>")
        blocks = sum(len(stage["blocks"]) for stage in architecture.to_spec()["stages"])
        assert svg.count('class="block"') == blocks
        assert svg.count('class="stage"') == len(architecture.to_spec()["stages"])

    def test_small_spaces_can_be_enumerated(self, space: SearchSpace) -> None:
        if space.num_genotypes > 1000:
            return
        names = [gene.name for gene in space.genes]
        every = [dict(zip(names, values, strict=True)) for values in product(*(gene.values for gene in space.genes))]
        hashes = {space.architecture(space.repair(genotype)).arch_hash for genotype in every}
        assert len(every) == space.num_genotypes >= len(hashes) > 1
