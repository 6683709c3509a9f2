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
    Gene("partner", ("none", "mix"), False, "", (("pattern", ("both",)),)),
    Gene(
        "share",
        (1, 2, 3),
        True,
        "",
        (("pattern", ("attention", "both")), ("attention", ("mix",))),
        (("pattern", ("both",)), ("partner", ("mix",))),
    ),
)


def test_a_gene_that_all_its_conditions_do_not_switch_on_stands_at_its_first_level() -> None:
    levels = GeneLevels(GENES)
    rows = np.array(list(np.ndindex(*(len(gene.values) for gene in GENES))))

    def expected(row: np.ndarray) -> list[int]:
        genotype = levels.genotype(row)
        is_on = [gene.has_influence(genotype) for gene in GENES]
        return [int(level) if on else 0 for level, on in zip(row, is_on, strict=True)]

    assert levels.canonical(rows).tolist() == [expected(row) for row in rows]
    assert levels.canonical(rows[:0]).shape == (0, len(GENES))


def test_a_gene_has_influence_in_either_of_its_two_ways() -> None:
    share = GENES[-1]
    on = {"pattern": "attention", "attention": "mix", "partner": "none"}
    assert share.has_influence(on) and share.has_influence({**on, "pattern": "both"})
    assert share.has_influence({"pattern": "both", "attention": "full", "partner": "mix"})
    assert not share.has_influence({"pattern": "attention", "attention": "full", "partner": "mix"})
    assert not share.has_influence({"pattern": "both", "attention": "full", "partner": "none"})


def test_without_conditions_every_row_stays() -> None:
    rows = np.array([[1, 1], [0, 1]])
    canonical = GeneLevels((GENES[0], GENES[4])).canonical(rows)
    assert canonical.tolist() == rows.tolist()
    assert canonical is not rows


def test_a_genotype_and_its_row_say_the_same() -> None:
    levels = GeneLevels(GENES)
    genotype = {
        "pattern": "both",
        "attention": "mix",
        "sizes": 5,
        "kernel": 5,
        "width": 16,
        "partner": "mix",
        "share": 2,
    }
    assert levels.row(dict(reversed(genotype.items()))) == (2, 1, 1, 1, 0, 1, 1)
    assert levels.genotype((2, 1, 1, 1, 0, 1, 1)) == genotype
