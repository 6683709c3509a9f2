"""Rows of levels and genotypes say the same."""

import numpy as np

from nas.records import Gene
from nas.surrogates.genes import GeneLevels

GENES = (
    Gene("pattern", ("conv", "attention", "both"), False, ""),
    Gene("attention", ("full", "mix"), False, "", (("pattern", ("attention", "both")),)),
    Gene("sizes", (3, 5, 7), True, "", (("pattern", ("attention", "both")), ("attention", ("mix",)))),
    Gene("kernel", (3, 5), True, "", (("pattern", ("conv", "both")),)),
    Gene("width", (16, 32), True, ""),
)


def test_a_gene_that_all_its_conditions_do_not_switch_on_stands_at_its_first_level() -> None:
    levels = GeneLevels(GENES)
    rows = np.array(list(np.ndindex(*(len(gene.values) for gene in GENES))))

    def expected(row: np.ndarray) -> list[int]:
        genotype = levels.genotype(row)
        is_on = [all(genotype[other] in values for other, values in gene.only_if) for gene in GENES]
        return [int(level) if on else 0 for level, on in zip(row, is_on, strict=True)]

    assert levels.canonical(rows).tolist() == [expected(row) for row in rows]
    assert levels.canonical(rows[:0]).shape == (0, len(GENES))


def test_without_conditions_every_row_stays() -> None:
    rows = np.array([[1, 1], [0, 1]])
    canonical = GeneLevels(GENES[:1] + GENES[-1:]).canonical(rows)
    assert canonical.tolist() == rows.tolist()
    assert canonical is not rows


def test_a_genotype_and_its_row_say_the_same() -> None:
    levels = GeneLevels(GENES)
    genotype = {"pattern": "both", "attention": "mix", "sizes": 5, "kernel": 5, "width": 16}
    assert levels.row(dict(reversed(genotype.items()))) == (2, 1, 1, 1, 0)
    assert levels.genotype((2, 1, 1, 1, 0)) == genotype
