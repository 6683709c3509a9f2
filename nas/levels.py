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
        column = {gene.name: position for position, gene in enumerate(genes)}
        self._conditions = [
            [(column[name], np.isin(np.arange(len(genes[column[name]].values)), [self._levels[column[name]][value] for value in values]))
             for name, values in gene.only_if]
            for gene in genes
        ]  # fmt: skip
        """Per gene: (column of another gene, (num_levels,) bool whether that level switches this gene on)."""

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

    def canonical(self, rows_ND: np.ndarray) -> np.ndarray:
        """(num_rows, num_genes): the same architectures, with every gene that has no influence at its first level."""
        canonical = rows_ND.copy()
        for gene, conditions in enumerate(self._conditions):
            for other, switches_on in conditions:
                canonical[~switches_on[rows_ND[:, other]], gene] = 0
        return canonical
