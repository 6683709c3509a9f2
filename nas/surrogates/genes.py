"""Genotypes as rows of levels: the position of each value among the values of its gene."""

from collections.abc import Mapping, Sequence
from operator import getitem

import numpy as np

from nas.records import Gene, Genotype, Value

Row = tuple[int, ...]


class GeneLevels:
    """Translates between genotypes and rows."""

    def __init__(self, genes: Sequence[Gene]) -> None:
        self._names = tuple(gene.name for gene in genes)
        self._values = tuple(gene.values for gene in genes)
        self._levels = [_level_of_value(gene) for gene in genes]
        column = {name: position for position, name in enumerate(self._names)}
        conditional: list[int] = []
        others: list[int] = []
        offsets: list[int] = []
        switches_on: list[bool] = []
        for position, gene in enumerate(genes):
            for name, values in gene.only_if:
                conditional.append(position)
                others.append(column[name])
                offsets.append(len(switches_on))
                switches_on += [value in values for value in self._values[column[name]]]
        self._conditional, self._starts = np.unique(np.array(conditional, dtype=int), return_index=True)
        """Genes with conditions, and the first condition of each."""
        self._others = np.array(others, dtype=int)
        """The other gene of each condition."""
        self._switches_on = np.array(switches_on, dtype=bool)
        """Whether a level of the other gene switches the gene on: all conditions one after the other."""
        self._offsets = np.array(offsets, dtype=int)
        """Where each condition begins among them."""

    def row(self, genotype: Mapping[str, Value]) -> Row:
        return tuple(map(getitem, self._levels, map(genotype.__getitem__, self._names)))

    def rows(self, genotypes: Sequence[Mapping[str, Value]]) -> np.ndarray:
        """(num_genotypes, num_genes) int."""
        return self.matrix([self.row(genotype) for genotype in genotypes])

    def matrix(self, rows: Sequence[Row]) -> np.ndarray:
        """(num_rows, num_genes) int, also of no rows."""
        return np.array(rows, dtype=int).reshape(-1, len(self._names))

    def genotype(self, row: Sequence[int] | np.ndarray) -> Genotype:
        return dict(zip(self._names, map(getitem, self._values, row), strict=True))

    def canonical(self, rows_ND: np.ndarray) -> np.ndarray:
        """(num_rows, num_genes): the same architectures, with every gene that has no influence at its first level."""
        canonical = rows_ND.copy()
        if len(self._conditional):
            is_on = self._switches_on[rows_ND[:, self._others] + self._offsets]
            canonical[:, self._conditional] *= np.logical_and.reduceat(is_on, self._starts, axis=1)
        return canonical


def _level_of_value(gene: Gene) -> Mapping[Value, int]:
    return {value: level for level, value in enumerate(gene.values)}
