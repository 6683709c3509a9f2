"""Spaces as tables."""

from nas.reports.spaces import space_text
from tests.doubles import TinySpace


def test_space_table_lists_every_gene_and_the_size() -> None:
    space = TinySpace(levels=4)
    head, _, *rows = space_text(space).splitlines()
    assert head == "tiny, scale nano: 3 genes, 64 genotypes"
    assert [row.split()[0] for row in rows] == [gene.name for gene in space.genes]
    assert "1 2 3 4" in rows[0]
