"""Searches on recorded problems: exactness under failures, and what the samplers find."""

import gzip
import itertools
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.simulator import run_problem
from nas.config import SearchConfig
from nas.errors import InvalidInputError
from nas.pareto.front import front_of, hypervolume
from nas.protocols import Event, Failed, Job
from nas.records import Gene
from nas.tabular.bench import Conditions, bench, bench_text
from nas.tabular.problems import open_problem
from nas.tabular.recorded import TARGET, RecordedEvaluator, RecordedProblem, RecordedSpace
from nas.tabular.simulator import InMemorySearch, Simulation, simulate

NOWHERE = Path("nowhere")
DATA = Path(os.environ.get("NAS_TABULAR", "shared/tabular"))


def share(simulation: Simulation, known: bool = True) -> float:
    problem = open_problem("synthetic", NOWHERE, known)
    return hypervolume(simulation.points, problem.reference_point) / problem.front_hypervolume


@pytest.mark.parametrize("known", [True, False])
def test_ehvi_finds_the_known_front_of_the_synthetic_problem(known: bool) -> None:
    problem = open_problem("synthetic", NOWHERE, known)
    ours, chance = (share(simulate(problem, sampler, 0, 60), known) for sampler in ("ehvi", "random"))
    assert ours > 0.95
    assert ours > chance + 0.1


@pytest.mark.parametrize("workers", [1, 8])
def test_nothing_is_trained_twice_and_the_budget_is_exact_under_failures(workers: int) -> None:
    simulation = simulate(open_problem("synthetic", NOWHERE, True), "ehvi", 1, 60, workers=workers, failure_rate=0.2)
    states = [facts.state for facts in simulation.facts]
    assert states.count("COMPLETE") == len(simulation.trained) == len(set(simulation.trained)) == 60
    assert states.count("FAIL") > 0
    assert len({facts.arch_hash for facts in simulation.facts}) == len(simulation.facts)
    complete = {facts.trial_number for facts in simulation.facts if facts.state == "COMPLETE"}
    assert {member.trial_number for member in front_of(simulation.facts, "macs", (0.0, 1e18))} <= complete


class FailsAtTheTop(RecordedEvaluator):
    """The most promising choice of the first gene never fits in memory."""

    def _result(self, job: Job, rung: int) -> list[Event]:
        if job.spec["levels"][0] == 3:
            return [Failed(job.trial_number, "simulated", "out of memory", retryable=False)]
        return super()._result(job, rung)


def test_ehvi_keeps_away_from_where_all_fail() -> None:
    problem = open_problem("synthetic", NOWHERE, True)
    config = SearchConfig(
        space="recorded",
        budget=60,
        study="s",
        storage="memory",
        artifacts="",
        objectives=("top1", "macs"),
        sampler="ehvi",
    )
    search = InMemorySearch(config, RecordedSpace(problem), FailsAtTheTop(problem, 1, 0), (0.0, 1e18))
    assert search.run().complete
    states = [facts.state for facts in search.store.recorded]
    assert states.count("COMPLETE") == 60 and 0 < states.count("FAIL") < 10


def test_eight_workers_train_at_once_and_see_what_is_pending() -> None:
    problem = open_problem("synthetic", NOWHERE, True)
    serial, parallel = (simulate(problem, "ehvi", 0, 60, workers=workers) for workers in (1, 8))
    assert parallel.clock_s < serial.clock_s / 6
    assert share(parallel) > share(serial) - 0.03


def test_the_same_seed_trains_the_same_rows() -> None:
    problem = open_problem("synthetic", NOWHERE, False)
    first, second = (simulate(problem, "ehvi", 4, 30, workers=3).trained for _ in range(2))
    assert first == second


def test_without_replay_repeats_are_trained_again() -> None:
    problem = open_problem("synthetic", NOWHERE, True)
    assert len(set(simulate(problem, "tpe", 0, 80, replay=False).trained)) < 80
    assert len(set(simulate(problem, "tpe", 0, 80).trained)) == 80


@pytest.mark.parametrize("known", [True, False])
def test_run_problem_trains_each_once_and_asks_for_costs_as_it_may(known: bool) -> None:
    calls: list[tuple[int, ...]] = []

    def train(levels: tuple[int, ...]) -> float:
        calls.append(levels)
        return 50 + 10.0 * levels[0] + 5 * levels[1] - levels[2]

    def cost(levels: tuple[int, ...]) -> float | None:
        return math.exp(levels[0] + 0.1 * levels[2]) if known or levels in calls else None

    points = run_problem([("a", 4, "int"), ("b", 3, "cat"), ("c", 5, "int"), ("d", 1, "cat")], train, cost, 0, 25)
    assert len(points) == len(calls) == len(set(calls)) == 25
    assert points == [(50 + 10.0 * a + 5 * b - c, math.exp(a + 0.1 * c)) for a, b, c, _ in calls]


def test_a_score_guides_a_problem_is_asked_once_each_and_changes_no_result() -> None:
    asked: list[tuple[int, ...]] = []

    def train(levels: tuple[int, ...]) -> float:
        return 50.0 + 5 * levels[0] - 3 * levels[1] + levels[2] * levels[3]

    def score(levels: tuple[int, ...]) -> float | None:
        asked.append(levels)
        return None if levels[0] == 0 else train(levels)

    genes = [(name, 6, "int") for name in "abcd"]
    points = run_problem(genes, train, lambda levels: 1.0 + sum(levels), 0, 30, score=score)
    assert len(points) == 30
    assert len(asked) == len(set(asked)) > 30
    assert max(points)[0] == 50 + 25 + 25


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**400, "3", 1j])
def test_a_score_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"the score of \(\d, \d\) is .*; expected a finite number, or None"):
        run_problem(
            [("a", 6, "int"), ("b", 6, "int")], float_of, lambda levels: 1.0 + sum(levels), 0, 20, lambda _: value
        )


def float_of(levels: tuple[int, ...]) -> float:
    return 50.0 + sum(levels)


def test_costs_that_an_earlier_search_has_seen_are_no_costs_known_before_training() -> None:
    seen: set[tuple[int, ...]] = set()
    genes = [("a", 4, "cat"), ("b", 3, "int"), ("c", 3, "cat")]

    def train(levels: tuple[int, ...]) -> float:
        seen.add(levels)
        return 50.0 + levels[0]

    lengths = [
        len(run_problem(genes, train, lambda levels: 1.0 + sum(levels) if levels in seen else None, seed, 20))
        for seed in range(8)
    ]
    assert lengths == [20] * 8 and (0, 0, 0) in seen


@pytest.mark.parametrize("kind", ["cat", "int"])
def test_one_gene_of_many_levels_is_searched_to_its_end(kind: str) -> None:
    assert (
        len(run_problem([("a", 20, kind), ("b", 1, "cat")], lambda row: 50.0 + row[0], lambda row: 1.0 + row[0], 0, 60))
        == 20
    )


@pytest.mark.parametrize(
    ("genes", "cost", "message"),
    [
        ([], 1.0, "there are no genes; expected"),
        ([("a", 0, "int")], 1.0, r"the gene \('a', 0, 'int'\) cannot be searched; expected"),
        ([("a", 3, "float")], 1.0, r"the gene \('a', 3, 'float'\) cannot be searched; expected"),
        ([("a", 3, "int"), ("a", 2, "int")], 1.0, "two genes have one name"),
        ([("a", 3, "int")], 0.0, r"the cost of \(\d,\) is 0.0; expected a finite number > 0"),
        ([("a", 3, "int")], math.inf, r"the cost of \(\d,\) is inf; expected"),
        ([("a", 3.0, "int")], 1.0, r"the gene \('a', 3.0, 'int'\) cannot be searched; expected"),
        ([("a", 3)], 1.0, r"the gene \('a', 3\) cannot be searched; expected"),
        ([("a", 3, "int")], 10**400, r"the cost of \(\d,\) is 10*; expected"),
        ([("a", 3, "int")], "1", r"the cost of \(\d,\) is '1'; expected"),
        ([("a", 3, "int")], None, r"the cost of \(\d,\) is None; expected a number once it is trained"),
    ],
)
def test_run_problem_refuses_what_cannot_be_searched(
    genes: list[tuple[str, int, str]], cost: Any, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        run_problem(genes, lambda row: 60.0, lambda row: cost, 0, 10)


@pytest.mark.parametrize("accuracy", [None, "60", [1, 2]])
def test_run_problem_refuses_what_is_no_accuracy(accuracy: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"the accuracy of \(\d,\) is .*; expected a number in percent, or NaN"):
        run_problem([("a", 3, "int")], lambda _: accuracy, lambda _: 1.0, 0, 10)


@pytest.mark.parametrize("unit", [1e300, 1e-300])
def test_a_score_of_any_size_guides_alike(unit: float) -> None:
    genes = [(name, 6, "int") for name in "abcd"]

    def search(power_of_two: float) -> list[tuple[float, float]]:
        def score(levels: tuple[int, ...]) -> float:
            return power_of_two * float_of(levels)

        return run_problem(genes, float_of, lambda levels: 1.0 + sum(levels) ** 2, 0, 25, score)

    assert search(2.0 ** round(math.log2(unit))) == search(1.0)


def test_run_problem_takes_costs_of_any_unit() -> None:
    def search(unit: float) -> list[float]:
        genes = [("a", 8, "int"), ("b", 8, "int"), ("c", 8, "cat")]
        return [
            top1
            for top1, _ in run_problem(
                genes, lambda row: 50 + sum(map(math.sqrt, row)), lambda row: unit * (3.7 + sum(row)), 0, 30
            )
        ]

    assert search(1.0) == search(1e-9) == search(1e12)


def test_run_problem_leaves_out_what_has_no_accuracy() -> None:
    points = run_problem(
        [("a", 4, "int"), ("b", 5, "cat")],
        lambda row: math.nan if row[0] == 2 else 60.0 + row[1],
        lambda row: 1.0 + row[0],
        0,
        20,
    )
    assert len(points) == 15 and all(math.isfinite(top1) for top1, _ in points)


def test_a_space_of_one_architecture_is_searched() -> None:
    assert run_problem([("a", 1, "int"), ("b", 1, "cat")], lambda row: 60.0, lambda row: 2.0, 0, 5) == [(60.0, 2.0)]


def test_a_latency_limit_that_few_meet_is_learned_from_what_was_rejected() -> None:
    """One random architecture in ten meets it; told nothing of those that do not, the sampler proposed them until the
    search gave up."""
    problem = open_problem("synthetic", NOWHERE, False)
    costs = [problem.cost(levels) for levels in itertools.product(range(4), repeat=8)]
    limit = float(np.quantile(costs, 0.1))
    config = SearchConfig(
        space="recorded",
        budget=60,
        study="s",
        storage="memory",
        artifacts="",
        objectives=("top1", "latency_ms"),
        sampler="ehvi",
        max_latency_ms=limit,
    )
    search = InMemorySearch(config, RecordedSpace(problem), RecordedEvaluator(problem, 1, 0), (0.0, 1e18), TARGET)
    search.run()
    states = [facts.state for facts in search.store.recorded]
    assert states.count("COMPLETE") == 60
    assert states.count("REJECTED") < 60


def test_a_small_space_is_exhausted_without_error() -> None:
    points = run_problem(
        [("a", 3, "int"), ("b", 4, "cat")], lambda row: 60.0 + row[0] + row[1], lambda row: 1.0 + row[0], 0, 50
    )
    assert len(points) == 12


def test_unknown_problems_and_missing_data_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="unknown problem 'micro'; expected one of macro"):
        open_problem("micro", NOWHERE, True)
    with pytest.raises(
        InvalidInputError,
        match=r"the data of problem 'macro' cannot be read in nowhere: .*; give their folder as --data",
    ):
        open_problem("macro", NOWHERE, True)


def test_half_a_file_of_data_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"b0,acc_mean\n" * 1000)
    for content in (whole[: len(whole) // 2], whole):  # a download that broke off, and a table of something else
        (tmp_path / "macro.csv.gz").write_bytes(content)
        with pytest.raises(InvalidInputError, match="the data of problem 'macro' cannot be read in"):
            open_problem("macro", tmp_path, True)


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded results are absent; NAS_TABULAR names their folder")
@pytest.mark.parametrize(("name", "published"), [("macro", 0.69), ("accel_vck190", 0.43)])
def test_random_search_on_recorded_results_reaches_the_published_median(name: str, published: float) -> None:
    problem = open_problem(name, DATA, True)
    runs = [simulate(problem, "random", seed, 50) for seed in range(40)]
    reached = [hypervolume(run.points, problem.reference_point) / problem.front_hypervolume for run in runs]
    assert np.median(reached) == pytest.approx(published, abs=0.03)


def test_a_comparison_reports_shares_of_the_true_front_that_grow_with_trainings() -> None:
    conditions = Conditions(seeds=3, budget=60, workers=4, failure_rate=0.1, rungs=1, replay=True)
    result = bench(open_problem("synthetic", NOWHERE, True), "random", conditions)
    assert conditions.checkpoints == (25, 50, 60)
    medians = [median for _, median, _ in result.hypervolume]
    assert all(0 < low <= median <= high < 1 for low, median, high in result.hypervolume)
    assert medians == sorted(medians)
    assert result.distinct == 60 and 0 < result.ask_ms[0] <= result.ask_ms[1]


def test_a_search_that_exhausts_the_space_says_that_later_columns_repeat_its_end() -> None:
    genes = tuple(Gene(name, (0, 1, 2), True, name) for name in "ab")
    problem = RecordedProblem("small", genes, lambda levels: 50.0 + sum(levels), lambda levels: 1.0 + sum(levels), None)
    conditions = Conditions(seeds=2, budget=30, workers=1, failure_rate=0, rungs=1, replay=True)
    result = bench(problem, "random", conditions)
    assert (result.trainings, result.distinct) == (9, 9)
    assert (
        bench_text(problem, [result], conditions)
        .splitlines()[-1]
        .startswith("random found nothing new after 9 of 30 trainings")
    )


def test_with_rungs_a_comparison_counts_the_stopped_and_says_what_was_worked() -> None:
    """Of 60 architectures in either column; those that were stopped add nothing, and took less."""
    whole, halved = (
        bench(
            open_problem("synthetic", NOWHERE, True),
            "random",
            Conditions(seeds=3, budget=60, workers=1, failure_rate=0, rungs=rungs, replay=True),
        )
        for rungs in (1, 3)
    )
    assert whole.distinct == halved.distinct == 60
    assert all(theirs[1] <= ours[1] for theirs, ours in zip(halved.hypervolume, whole.hypervolume, strict=True))
    assert halved.work < 0.7 * whole.work
    assert whole.work == pytest.approx(60, rel=0.1)


@pytest.mark.parametrize(("option", "value"), [("seeds", 0), ("budget", 0), ("workers", -1), ("rungs", 0)])
def test_a_comparison_without_anything_to_do_is_refused(option: str, value: int) -> None:
    counts = {"seeds": 1, "budget": 1, "workers": 1, "rungs": 1, option: value}
    with pytest.raises(InvalidInputError, match=f"--{option} is {value}; expected a whole number from 1"):
        Conditions(failure_rate=0.0, replay=True, **counts)


@pytest.mark.parametrize("workers", [1, 8])
def test_a_search_with_rungs_failures_and_duplicates_is_exact(workers: int) -> None:
    problem = open_problem("synthetic", Path("nowhere"), True)
    run = simulate(problem, "ehvi", 3, 120, workers=workers, failure_rate=0.2, duplicates=0.1, rungs=3)
    states = [trial.state for trial in run.facts]
    assert states.count("COMPLETE") + states.count("PRUNED") == 120
    assert states.count("PRUNED") > 40 and states.count("FAIL") > 5 and run.replays >= 5
    assert len({trial.arch_hash for trial in run.facts}) == len(run.facts)
    assert len(set(run.trained)) == len(run.trained) == states.count("COMPLETE")
    complete = {trial.trial_number for trial in run.facts if trial.state == "COMPLETE"}
    assert {member.trial_number for member in run.front} <= complete
    assert all(len(trial.rungs) == 3 for trial in run.facts if trial.state == "COMPLETE")
    assert all(1 <= len(trial.rungs) < 3 for trial in run.facts if trial.state == "PRUNED")
