"""What a training is expected to add to the front, and which candidates are looked at."""

import numpy as np
from scipy.special import ndtr

MANY_OTHERS = 8
"""Other levels from which on a step of a climb looks at some of a gene."""
NUM_DRAWN = 4
"""How many of them on average."""


def expected_improvement(
    mean_N: np.ndarray,
    sd_N: np.ndarray,
    log_cost_N: np.ndarray,
    front: tuple[np.ndarray, np.ndarray],
    reference_point: tuple[float, float],
) -> np.ndarray:
    """Expected growth of the hypervolume over (top1, ln cost) when a candidate is trained whose cost is known.

    With known cost the growth is an integral over ln cost, from the candidate's to the reference's, of what top1
    exceeds the front there. The front is a staircase, so the expectation is a sum over its steps of width times
    one-dimensional expected improvement.

    Args:
        mean_N: (num_candidates,) predicted top1.
        sd_N: (num_candidates,) its standard deviation, > 0.
        log_cost_N: (num_candidates,) ln cost.
        front: top1 and ln cost of the front, each (num_members,), by ascending cost.
        reference_point: (top1, ln cost).

    Returns:
        (num_candidates,) >= 0.

    Source: Emmerich, Deutz & Klinkenberg, "Hypervolume-based expected improvement: Monotonicity properties and exact
    computation", CEC 2011, reduced to one random objective.
    """
    top1, log_cost = front
    inside = (top1 > reference_point[0]) & (log_cost < reference_point[1])
    steps = np.concatenate([[reference_point[0]], top1[inside]])
    begins = np.concatenate([[-np.inf], log_cost[inside]])
    ends = np.concatenate([log_cost[inside], [reference_point[1]]])
    width = np.maximum(0.0, ends - np.maximum(begins, log_cost_N[:, None]))
    z = (mean_N[:, None] - steps) / sd_N[:, None]
    gain = sd_N[:, None] * (z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))
    growth: np.ndarray = np.einsum("ij,ij->i", width, np.maximum(gain, 0.0))
    return growth


def random_rows(num_rows: int, num_levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(num_rows, num_genes) int, every level equally likely."""
    rows: np.ndarray = rng.integers(0, num_levels, (num_rows, len(num_levels)))
    return rows


def offspring(parents_ND: np.ndarray, num_rows: int, num_levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Children of the front: two thirds are mutations of one to three genes, one third uniform crossovers of two
    parents.

    Args:
        parents_ND: (num_parents, num_genes) int, at least one.

    Returns:
        (num_rows, num_genes) int; some may equal a parent.
    """
    num_genes = len(num_levels)
    first, second = parents_ND[rng.integers(0, len(parents_ND), (2, num_rows))]
    chosen = rng.random((num_rows, num_genes)).argsort(axis=1) < rng.integers(1, 4, (num_rows, 1))
    shift = rng.integers(1, np.maximum(num_levels, 2), (num_rows, num_genes))
    mutated: np.ndarray = np.where(chosen, (first + shift) % num_levels, first)
    crossed: np.ndarray = np.where(rng.random((num_rows, num_genes)) < 0.5, first, second)
    children: np.ndarray = np.where((np.arange(num_rows) % 3 == 0)[:, None], crossed, mutated)
    return children


def neighbours(row_D: np.ndarray, num_levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(num_neighbours, num_genes): the rows that differ from this one in exactly one gene.

    A gene of MANY_OTHERS and more gives NUM_DRAWN of them on average, drawn anew each time: a choice of 25 mixers would
    else take most of the time of an ask.
    """
    others = num_levels - 1
    genes = np.repeat(np.arange(len(num_levels)), others)
    shifts = np.arange(1, len(genes) + 1) - (np.cumsum(others) - others)[genes]
    if others.max() >= MANY_OTHERS:
        share = np.where(others < MANY_OTHERS, 1.0, NUM_DRAWN / np.maximum(others, 1))
        drawn = rng.random(len(genes)) < share[genes]
        genes = genes[drawn]
        shifts = shifts[drawn]
    around = np.tile(row_D, (len(genes), 1))
    around[np.arange(len(genes)), genes] = (row_D[genes] + shifts) % num_levels[genes]
    return around
