"""Samplers by name. They see an in-memory study; the recorded one never asks them anything."""

from collections.abc import Callable

from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from nas.errors import InvalidInputError
from nas.samplers.ehvi_sampler import EhviSampler
from nas.samplers.knowledge import Knowledge

# NSGA-II's default population of 50 makes a quarter of a 200-trial budget random; 20 is what a small budget bears.
SAMPLERS: dict[str, Callable[[int, Knowledge], BaseSampler]] = {
    "random": lambda seed, _: RandomSampler(seed=seed),
    "nsga2": lambda seed, _: NSGAIISampler(seed=seed, population_size=20),
    "tpe": lambda seed, _: TPESampler(seed=seed, multivariate=False),
    "tpe_multivariate": lambda seed, _: TPESampler(seed=seed, multivariate=True),
    "gp": lambda seed, _: GPSampler(seed=seed),
    "ehvi": EhviSampler,
}


def check_sampler(name: str) -> None:
    """Refuse an unknown name.

    Raises:
        InvalidInputError: if there is no such sampler; the message lists the known ones.
    """
    if name not in SAMPLERS:
        raise InvalidInputError(f"unknown sampler {name!r}; expected one of {', '.join(SAMPLERS)}")


def make_sampler(name: str, seed: int, knowledge: Knowledge) -> BaseSampler:
    """Make the sampler `name`, seeded.

    Raises:
        InvalidInputError: if there is no such sampler; the message lists the known ones.
    """
    check_sampler(name)
    return SAMPLERS[name](seed, knowledge)
