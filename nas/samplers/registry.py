"""Samplers by name. They see an in-memory study; the recorded one never asks them anything."""

import contextlib
from collections.abc import Callable, Iterator, Mapping

from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from nas.errors import InvalidInputError
from nas.samplers.ehvi_sampler import EhviSampler
from nas.samplers.knowledge import Knowledge

MakeSampler = Callable[[int, Knowledge], BaseSampler]

# NSGA-II's default population of 50 makes a quarter of a 200-trial budget random; 20 is what a small budget bears.
SAMPLERS: dict[str, MakeSampler] = {
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


@contextlib.contextmanager
def registered(samplers: Mapping[str, MakeSampler]) -> Iterator[None]:
    """Know further samplers for a while; the commands offer what is known otherwise."""
    before = dict(SAMPLERS)
    SAMPLERS.update(samplers)
    try:
        yield
    finally:
        SAMPLERS.clear()
        SAMPLERS.update(before)


def make_sampler(name: str, seed: int, knowledge: Knowledge) -> BaseSampler:
    """Make the sampler `name`, seeded.

    Raises:
        InvalidInputError: if there is no such sampler; the message lists the known ones.
    """
    check_sampler(name)
    return SAMPLERS[name](seed, knowledge)
