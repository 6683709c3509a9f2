"""What is said of a score after a search."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from nas.analysis.score_reports import ScoreReport, score_reports, score_text
from nas.records import Gene, Genotype, TrialFacts
from nas.surrogates.scores import Fidelity
from nas.tabular.problems import open_problem
from nas.tabular.simulator import Simulation, simulate
from tests.nas.tabular.test_simulator import NOWHERE

PROBLEM = open_problem("synthetic", NOWHERE, True)


@dataclass(frozen=True)
class Given:
    """A score by a formula."""

    formula: Callable[[np.ndarray], np.ndarray]
    label: str = "given"
    fidelity: Fidelity = "earlier"

    def __call__(self, rows_ND: np.ndarray) -> np.ndarray:
        return self.formula(rows_ND)


def true(rows_ND: np.ndarray) -> np.ndarray:
    return np.array([PROBLEM.accuracy_percent(tuple(row)) for row in rows_ND.tolist()])


def report(
    facts: tuple[TrialFacts, ...], formula: Callable[[np.ndarray], np.ndarray], trusted: str = ""
) -> ScoreReport:
    """`trusted` has a letter for every trial, t where it was proposed around the score."""
    names = [gene.name for gene in PROBLEM.genes]
    genotypes: dict[int, Genotype] = {
        trial.trial_number: dict(zip(names, trial.spec["levels"], strict=True)) for trial in facts
    }
    genes: tuple[Gene, ...] = PROBLEM.genes
    (only,) = score_reports(
        (Given(formula),),
        genes,
        facts,
        genotypes,
        {number: "given" if letter == "t" else None for number, letter in enumerate(trusted)},
    )
    return only


@pytest.fixture(scope="module")
def searched() -> Simulation:
    return simulate(PROBLEM, "random", 0, 40)


def test_a_score_is_trusted_since_the_first_trial_of_the_last_that_were_proposed_around_it(
    searched: Simulation,
) -> None:
    found = report(searched.facts, true, "-----tt--ttt")
    assert score_text(found) == "given: r 1.00 (1.00 to 1.00) with top1 over 40 trainings; trusted since trial 9"
    refuted = score_text(report(searched.facts, true, "-----tttt-"))
    assert refuted.endswith("over 40 trainings; a gene of the surrogate at most, not trusted")


def test_few_trainings_say_nothing(searched: Simulation) -> None:
    assert score_text(report(searched.facts[:9], true)) == "given: not judged yet, with 9 of 10 trainings; not used"
    assert score_text(report((), true)) == "given: not judged yet, with 0 of 10 trainings; not used"
