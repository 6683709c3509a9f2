"""Samplers by name. They see an in-memory study; the recorded one never asks them anything."""

from collections.abc import Callable

from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from nas.errors import InvalidInputError

# NSGA-II's default population of 50 makes a quarter of a 200-trial budget random; 20 is what a small budget bears.
SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=20),
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=False),
    "tpe_multivariate": lambda seed: TPESampler(seed=seed, multivariate=True),
    "gp": lambda seed: GPSampler(seed=seed),
}


def make_sampler(name: str, seed: int) -> BaseSampler:
    """Make the sampler `name`, seeded.

    Raises:
        InvalidInputError: if there is no such sampler; the message lists the known ones.
    """
    if name not in SAMPLERS:
        raise InvalidInputError(f"unknown sampler {name!r}; expected one of {', '.join(SAMPLERS)}")
    return SAMPLERS[name](seed)
