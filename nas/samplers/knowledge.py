"""What samplers may know: of a space before anything is trained, and of a trial once it is over."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from nas.records import Gene, Genotype
from nas.surrogates.scores import ArchitectureScore

CURVE = "curve"
"""User attribute of a sampler's trial: top1 at each rung that was reached."""
COST = "cost"
"""User attribute of a sampler's trial: the cost objective."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a sampler may know of a space before anything is trained."""

    genes: tuple[Gene, ...]
    repair: Callable[[Genotype], Genotype]
    """The nearest valid genotype."""
    identity: Callable[[Genotype], str]
    """Valid genotype -> what is the same for all genotypes of its architecture."""
    cost: Callable[[Genotype], float] | None
    """The cost objective before training; None when it must be measured."""
    feasible: Callable[[Genotype], bool]
    """Within the hard limits that are known before training."""
    max_cost: float = math.inf
    """Hard limit on the cost objective."""
    reference_point: tuple[float, float] | None = None
    """(top1, cost) of the study; None lets the sampler choose one."""
    scores: tuple[ArchitectureScore, ...] = ()
    """What may rank architectures as training does, of all of them."""
