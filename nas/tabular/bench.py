"""Samplers side by side on a recorded problem: hypervolume against trainings, distinct architectures, time per ask."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from nas.errors import InvalidInputError
from nas.pareto.front import hypervolume
from nas.tabular.recorded import RecordedProblem
from nas.tabular.simulator import Simulation, simulate
from nas.text import text_table

CHECKPOINTS = 25, 50, 100, 200
QUARTILES = 0.25, 0.5, 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How every sampler is run.

    Raises:
        InvalidInputError: for a value out of its range.
    """

    seeds: int
    """Searches of each sampler, with the seeds 0, 1, ..."""
    budget: int
    """Distinct architectures per search."""
    workers: int
    failure_rate: float
    """Share of the evaluations that fail, half of them by the death of a worker."""
    rungs: int
    replay: bool
    """Answer repeats from the record; else they are trained again."""

    def __post_init__(self) -> None:
        for name in ("seeds", "budget", "workers", "rungs"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"--{name} is {getattr(self, name)}; expected a whole number from 1")
        if not 0 <= self.failure_rate <= 0.3:
            raise InvalidInputError(
                f"--failures is {self.failure_rate:g}; expected a share from 0 to 0.3: a search stops itself where "
                "most fail"
            )

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Trainings after which the hypervolume is reported."""
        return (*(count for count in CHECKPOINTS if count < self.budget), self.budget)


@dataclass(frozen=True, slots=True)
class SamplerResult:
    """What one sampler reached; quartiles over the seeds."""

    sampler: str
    hypervolume: tuple[tuple[float, float, float], ...]
    """Lower quartile, median and upper quartile at each checkpoint, as a share of the true front's."""
    trainings: int
    """The fewest that a seed counted towards its budget: less than that where the space was exhausted."""
    distinct: float
    """Median of the distinct architectures that were trained, to the end or up to a rung that stopped them."""
    work: float
    """Median of what all workers did, in whole trainings of mean length."""
    ask_ms: tuple[float, float]
    """Median and 95 % quantile of the time of an ask."""


def bench(problem: RecordedProblem, sampler: str, conditions: Conditions) -> SamplerResult:
    """Run one sampler with every seed.

    Raises:
        InvalidInputError: if the sampler is unknown.
    """
    runs = [
        simulate(
            problem,
            sampler,
            seed,
            conditions.budget,
            workers=conditions.workers,
            failure_rate=conditions.failure_rate,
            replay=conditions.replay,
            rungs=conditions.rungs,
        )
        for seed in range(conditions.seeds)
    ]
    curves = [growth(problem, run, conditions.checkpoints) for run in runs]
    low, median, high = np.quantile(curves, QUARTILES, axis=0).tolist()
    half, most = 1e3 * np.quantile(np.concatenate([run.ask_s for run in runs]), [0.5, 0.95])
    return SamplerResult(
        sampler=sampler,
        hypervolume=tuple(zip(low, median, high, strict=True)),
        trainings=min(run.counted for run in runs),
        distinct=float(np.median([run.distinct for run in runs])),
        work=float(np.median([run.busy_s for run in runs])),
        ask_ms=(float(half), float(most)),
    )


def growth(problem: RecordedProblem, run: Simulation, checkpoints: Sequence[int]) -> list[float]:
    """Share of the true front's hypervolume after each number of trainings. Stopped ones count, as they do in a budget;
    they add nothing."""
    points = iter(run.points)
    course = [next(points) if trial.state == "COMPLETE" else None for trial in run.facts if trial.is_counted]
    shares = []
    for count in checkpoints:
        reached = [point for point in course[:count] if point is not None]
        shares.append(hypervolume(reached, problem.reference_point) / problem.front_hypervolume)
    return shares


def bench_text(problem: RecordedProblem, results: Sequence[SamplerResult], conditions: Conditions) -> str:
    """A table with one line per sampler, under what was run; below it which searches ended before their budget."""
    head = (
        f"{problem.name}, cost {_cost_mode(problem)}, {conditions.seeds} seeds; shares of the hypervolume of the true "
        "front"
    )
    header = ["sampler", *(f"after {count}" for count in conditions.checkpoints), "distinct", "work", "ask, ms"]
    table = text_table(header, map(_result_cells, results), right=0)
    notes = [
        f"{result.sampler} found nothing new after {result.trainings} of {conditions.budget} trainings; later "
        "columns repeat the end"
        for result in results
        if result.trainings < conditions.budget
    ]
    return "\n".join([head, table, *notes])


def _result_cells(result: SamplerResult) -> Sequence[str]:
    half, most = result.ask_ms
    return (
        result.sampler,
        *(f"{median:.3f} ({low:.3f} to {high:.3f})" for low, median, high in result.hypervolume),
        f"{result.distinct:.0f}",
        f"{result.work:.0f}",
        f"{half:.0f}, 95 % within {most:.0f}",
    )


def bench_json(problem: RecordedProblem, results: Sequence[SamplerResult], conditions: Conditions) -> str:
    """The same, unrounded."""
    what = {
        "problem": problem.name,
        "cost": _cost_mode(problem),
        **asdict(conditions),
        "checkpoints": conditions.checkpoints,
    }
    return json.dumps({**what, "results": [asdict(result) for result in results]}, indent=2)


def _cost_mode(problem: RecordedProblem) -> str:
    return "modelled" if problem.known_cost is None else "known"
