"""Are the traits that a user's own space gives what predictions need? Imports no torch."""

from collections.abc import Callable

import numpy as np

from nas.errors import InvalidInputError
from nas.protocols import SearchSpace, Traits
from nas.records import Gene
from nas.surrogates.genes import GeneLevels

SAMPLED = 150
"""Networks that are looked at, and as many random rows of genes, valid or not."""


def check_traits(origin: str, space: SearchSpace) -> None:
    """Refuse traits that would mislead a prediction, or end what asks for one.

    Args:
        origin: where the space comes from, for people.
        space: the space; it need not have traits.

    Raises:
        InvalidInputError: if they are none, or depend on more than the network of a row.
    """
    traits = getattr(space, "traits", None)
    if traits is None:
        return
    _check_kind(origin, traits)
    levels = GeneLevels(space.genes)
    rng = np.random.default_rng(0)
    num_values = [len(gene.values) for gene in space.genes]
    raw = rng.integers(0, num_values, (SAMPLED, len(num_values)))
    valid = levels.rows([space.sample(rng) for _ in range(SAMPLED)])
    rows = levels.canonical(np.vstack([raw, valid]))
    before = rows.copy()
    given = _levels(origin, traits, rows)
    if not np.array_equal(rows, before):
        raise InvalidInputError(f"the traits of {origin} change the rows that they are given; let them make new ones")
    again = _levels(origin, traits, before[::-1].copy())[::-1]
    alone = _levels(origin, traits, before[:1].copy())
    if not np.array_equal(given, again) or not np.array_equal(given[:1], alone):
        raise InvalidInputError(
            f"the traits of {origin} give a row other levels beside other rows, or at another call; let them depend on "
            "that row alone"
        )
    _check_equal(origin, space, lambda rows: _levels(origin, traits, levels.canonical(rows)), valid)


def _check_kind(origin: str, traits: object) -> None:
    described = traits.described if isinstance(traits, Traits) else ()
    is_sequence = isinstance(described, tuple | list)
    if not is_sequence or not described or not all(isinstance(trait, Gene) and trait.values for trait in described):
        raise InvalidInputError(
            f"the traits of {origin} are {traits!r}; expected nas.protocols.Traits(described, levels) with one or more "
            "nas.records.Gene described, each with its values"
        )


def _levels(origin: str, traits: Traits, rows_ND: np.ndarray) -> np.ndarray:
    """(num_rows, num_traits) int, within what is described."""
    num_values = np.array([len(trait.values) for trait in traits.described])
    given = traits.levels(rows_ND)
    shape = (len(rows_ND), len(num_values))
    if type(given) is not np.ndarray or given.shape != shape or not np.issubdtype(given.dtype, np.signedinteger):
        said = f"{given.dtype} of the shape {given.shape}" if isinstance(given, np.ndarray) else type(given).__name__
        raise InvalidInputError(
            f"the traits of {origin} give {said} for {len(rows_ND)} rows; expected a numpy array of whole numbers "
            f"(int) of the shape {shape}, a column for each trait described"
        )
    outside = ((given < 0) | (given >= num_values)).any(axis=0)
    if outside.any():
        trait = traits.described[int(outside.argmax())]
        raise InvalidInputError(
            f"the trait {trait.name!r} of {origin} has levels outside 0 to {len(trait.values) - 1}; describe as many "
            "values as there are levels, also of genotypes that are not valid"
        )
    return given


def _check_equal(
    origin: str, space: SearchSpace, levels_of: Callable[[np.ndarray], np.ndarray], valid_ND: np.ndarray
) -> None:
    """Compare networks with what a change of one gene makes of them."""
    levels = GeneLevels(space.genes)
    rng = np.random.default_rng(1)
    for row in valid_ND.tolist():
        genotype = levels.genotype(row)
        gene = space.genes[int(rng.integers(len(space.genes)))]
        other = space.repair({**genotype, gene.name: gene.values[int(rng.integers(len(gene.values)))]})
        if space.architecture(genotype).arch_hash != space.architecture(other).arch_hash:
            continue
        first, second = levels_of(levels.rows([genotype, other]))
        if not np.array_equal(first, second):
            raise InvalidInputError(
                f"the traits of {origin} differ between {genotype} and {other}, which are one network; give equal "
                "networks equal traits"
            )
