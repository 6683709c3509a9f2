"""Genotypes as rows of levels: the position of each value among the values of its gene."""

from collections.abc import Mapping, Sequence
from operator import getitem

import numpy as np

from nas.records import Gene, Genotype, Value

Row = tuple[int, ...]
Conditions = tuple[tuple[str, tuple[Value, ...]], ...]


class GeneLevels:
    """Translates between genotypes and rows."""

    def __init__(self, genes: Sequence[Gene]) -> None:
        self._names = tuple(gene.name for gene in genes)
        self._values = tuple(gene.values for gene in genes)
        self._levels = [_level_of_value(gene) for gene in genes]
        column = {name: position for position, name in enumerate(self._names)}
        self._conditional = np.array([i for i, gene in enumerate(genes) if gene.only_if], dtype=int)
        """Genes with conditions."""
        self._only_if = _Switches([genes[i].only_if for i in self._conditional], column, self._values)
        self._either = np.array([i for i, gene in enumerate(genes) if gene.only_if and gene.or_if], dtype=int)
        """Those of them that have a second way to be on."""
        self._or_if = _Switches([genes[i].or_if for i in self._either], column, self._values)
        self._places = np.searchsorted(self._conditional, self._either)
        """Place of each of these among the genes with conditions."""

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
            is_on = self._only_if.are_on(rows_ND)
            if len(self._either):
                is_on[:, self._places] |= self._or_if.are_on(rows_ND)
            canonical[:, self._conditional] *= is_on
        return canonical


class _Switches:
    """Conditions of some genes, each with at least one."""

    def __init__(
        self, conditions: Sequence[Conditions], column: Mapping[str, int], values: Sequence[tuple[Value, ...]]
    ) -> None:
        others: list[int] = []
        offsets: list[int] = []
        starts: list[int] = []
        switches_on: list[bool] = []
        for of_gene in conditions:
            starts.append(len(others))
            for name, wanted in of_gene:
                others.append(column[name])
                offsets.append(len(switches_on))
                switches_on += [value in wanted for value in values[column[name]]]
        self._starts = np.array(starts, dtype=int)
        """The first condition of each gene."""
        self._others = np.array(others, dtype=int)
        """The other gene of each condition."""
        self._switches_on = np.array(switches_on, dtype=bool)
        """Whether a level of the other gene switches the gene on: all conditions one after the other."""
        self._offsets = np.array(offsets, dtype=int)
        """Where each condition begins among them."""

    def are_on(self, rows_ND: np.ndarray) -> np.ndarray:
        """(num_rows, num_genes of these) bool: whether all conditions of a gene hold."""
        is_on = self._switches_on[rows_ND[:, self._others] + self._offsets]
        return np.logical_and.reduceat(is_on, self._starts, axis=1)


def _level_of_value(gene: Gene) -> Mapping[Value, int]:
    return {value: level for level, value in enumerate(gene.values)}
