"""Samplers by name."""

from pathlib import Path

import pytest

from nas.errors import InvalidInputError
from nas.samplers.registry import SAMPLERS, check_sampler
from nas.tabular.problems import open_problem
from nas.tabular.simulator import simulate


def test_an_unknown_sampler_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match="unknown sampler 'bohb'; expected one of random, nsga2, tpe, "):
        check_sampler("bohb")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_bears_stopped_trainings(sampler: str) -> None:
    run = simulate(open_problem("synthetic", Path("nowhere"), True), sampler, 0, 30, workers=2, rungs=2)
    states = [trial.state for trial in run.facts]
    assert states.count("COMPLETE") + states.count("PRUNED") == 30 and states.count("PRUNED") >= 3
