"""Genotypes as rows of levels: the position of each value among the values of its gene."""

from collections.abc import Mapping, Sequence

import numpy as np

from nas.records import Gene, Genotype, Value

Row = tuple[int, ...]


class GeneLevels:
    """Translates between genotypes and rows."""

    def __init__(self, genes: Sequence[Gene]) -> None:
        self._genes = genes
        self._levels = [{value: level for level, value in enumerate(gene.values)} for gene in genes]

    def row(self, genotype: Mapping[str, Value]) -> Row:
        return tuple(levels[genotype[gene.name]] for gene, levels in zip(self._genes, self._levels, strict=True))

    def rows(self, genotypes: Sequence[Mapping[str, Value]]) -> np.ndarray:
        """(num_genotypes, num_genes) int."""
        return self.matrix([self.row(genotype) for genotype in genotypes])

    def matrix(self, rows: Sequence[Row]) -> np.ndarray:
        """(num_rows, num_genes) int, also of no rows."""
        return np.array(rows, dtype=int).reshape(-1, len(self._genes))

    def genotype(self, row: Sequence[int] | np.ndarray) -> Genotype:
        return {gene.name: gene.values[level] for gene, level in zip(self._genes, row, strict=True)}
