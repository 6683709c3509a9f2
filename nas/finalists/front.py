"""The final front: what the final trainings say of the finalists, with intervals and probabilities."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import scipy

from nas.finalists.plan import MIN_SEEDS, Finals
from nas.pareto.front import dominates, non_dominated_mask
from nas.records import FinalFront, Finalist, FinalSplit, FinalTraining, FullTraining, TrialFacts, facts_by_number

DRAWS = 10_000
"""Draws from the intervals, for the probabilities of being on the front."""
CONFIDENCE = 0.95


def final_front(finals: Finals, trainings: Iterable[FinalTraining], latest: FinalFront | None) -> FinalFront | None:
    """The final front that the trainings give.

    Args:
        trainings: all recorded ones of the study.
        latest: what is recorded; returned as it is where nothing has changed.

    Returns:
        None if no finalist has MIN_SEEDS final trainings.
    """
    trials = facts_by_number(finals.finalists)
    scored = _final_scores(finals, list(trainings))
    numbers = [number for number, scores in scored.items() if len(scores) >= MIN_SEEDS]
    if not numbers:
        return None
    chosen = finals.choices(trainings)
    objective = finals.study.cost_objective
    samples = [np.array(list(scored[number].values())) for number in numbers]
    means = np.array([sample.mean() for sample in samples])
    errors = np.array([scipy.stats.sem(sample) for sample in samples])
    degrees = np.array([len(sample) - 1 for sample in samples])
    costs = np.array([cost_interval(trials[number], objective) for number in numbers])
    on_front = non_dominated_mask(np.stack([-means, costs[:, 0]], axis=1))
    probabilities = front_probabilities(means, errors, degrees, costs, finals.study.seed)
    reach = errors * scipy.stats.t.ppf((1 + CONFIDENCE) / 2, degrees)
    finalists = [
        Finalist(
            trial_number=number,
            arch_hash=trials[number].arch_hash,
            recipe_hash=chosen[number].recipe_hash,
            seeds=tuple(scored[number]),
            top1=float(means[i]),
            top1_std=float(samples[i].std(ddof=1)),
            top1_low=float(max(0.0, means[i] - reach[i])),
            top1_high=float(min(1.0, means[i] + reach[i])),
            cost=float(costs[i, 0]),
            cost_low=float(costs[i, 1]),
            cost_high=float(costs[i, 2]),
            on_front=bool(on_front[i]),
            front_probability=float(probabilities[i]),
        )
        for i, number in enumerate(numbers)
    ]
    ordered = tuple(sorted(finalists, key=lambda f: (f.cost, f.top1, f.trial_number)))
    if latest is not None and (latest.split, latest.finalists) == (finals.split, ordered):
        return latest
    return FinalFront(1 if latest is None else latest.version + 1, datetime.now(UTC), finals.split, ordered)


def full_training(
    front: FinalFront | None, trainings: Iterable[FinalTraining], trial_number: int
) -> FullTraining | None:
    """What a final front says about a trial, with the training whose weights represent it; None if it is no
    finalist."""
    if front is None:
        return None
    finalist = next((one for one in front.finalists if one.trial_number == trial_number), None)
    if finalist is None:
        return None
    same = trial_number, finalist.recipe_hash
    by_seed = {t.seed: t for t in trainings if (t.trial_number, t.recipe_hash) == same and t.purpose == "final"}
    own = [by_seed[seed] for seed in finalist.seeds]
    scores = tuple(float(_score(training, front.split) or 0.0) for training in own)
    return FullTraining(finalist, front.split, max(own, key=lambda training: training.top1 or 0.0), scores)


def final_front_faults(front: FinalFront, trainings: Sequence[FinalTraining]) -> list[str]:
    """Where a recorded final front differs from the trainings that it rests on; one line each."""
    scores = {
        (training.trial_number, training.recipe_hash, training.seed): _score(training, front.split)
        for training in trainings
        if training.purpose == "final" and training.state == "COMPLETE"
    }
    faults = []
    for finalist in front.finalists:
        own = [scores.get((finalist.trial_number, finalist.recipe_hash, seed)) for seed in finalist.seeds]
        known = [score for score in own if score is not None]
        if len(known) < len(own) or not math.isclose(float(np.mean(known)), finalist.top1, rel_tol=1e-9):
            faults.append(
                f"final front {front.version}: trial {finalist.trial_number} differs from its recorded trainings"
            )
    return faults


def _score(training: FinalTraining, split: FinalSplit) -> float | None:
    """top1 on the split that counts."""
    return training.test_top1 if split == "test" else training.top1


def _final_scores(finals: Finals, trainings: Sequence[FinalTraining]) -> Mapping[int, dict[int, float]]:
    """Trial number -> seed -> top1 of its final trainings at the choice, on the split that counts."""
    chosen = finals.choices(trainings)
    found = defaultdict[int, dict[int, float]](dict)
    for training in sorted(trainings, key=lambda training: training.seed):
        variant = chosen.get(training.trial_number)
        wanted = training.purpose == "final" and training.state == "COMPLETE" and training.seed in finals.final_seeds
        score = _score(training, finals.split)
        if wanted and variant is not None and training.recipe_hash == variant.recipe_hash and score is not None:
            found[training.trial_number][training.seed] = score
    return {trial.trial_number: found[trial.trial_number] for trial in finals.finalists}


def cost_interval(trial: TrialFacts, objective: str) -> tuple[float, float, float]:
    """(cost, low, high): the 95 % interval of a measured latency; what is counted has no width."""
    cost = trial.cost(objective)
    assert cost is not None, "members of a front have a cost"
    if objective == "latency_ms" and trial.latency is not None:
        return cost, trial.latency.ci_low_ms, trial.latency.ci_high_ms
    return cost, cost, cost


def front_probabilities(
    means: np.ndarray, errors: np.ndarray, degrees: np.ndarray, costs: np.ndarray, seed: int
) -> np.ndarray:
    """How often each finalist is on the front when top1 and cost are drawn anew.

    A top1 is drawn from Student's t distribution about the mean over the seeds, the same that gives its interval; a
    cost from a normal distribution of its logarithm whose central 95 % are as wide as its interval. All draws are
    independent.

    Args:
        means, errors, degrees: each (num_finalists,): mean, standard error of the mean, and degrees of freedom of top1.
        costs: (num_finalists, 3) cost, low and high, > 0.
        seed: of the draws.

    Returns:
        (num_finalists,) in [0, 1].
    """
    rng = np.random.default_rng(seed)
    shape = (DRAWS, len(means))
    top1 = means + errors * rng.standard_t(np.broadcast_to(degrees, shape))
    sigma = np.log(costs[:, 2] / costs[:, 1]) / (2 * scipy.stats.norm.ppf((1 + CONFIDENCE) / 2))
    cost = costs[:, 0] * np.exp(sigma * rng.standard_normal(shape))
    losses = np.stack([-top1, cost], axis=-1)
    beaten = [dominates(losses, losses[:, [finalist]]).any(axis=1).mean() for finalist in range(len(means))]
    return 1 - np.array(beaten)
