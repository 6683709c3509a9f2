"""Finalists: who is chosen, and what is trained and how often."""

from dataclasses import replace

import pytest

from nas.errors import InvalidInputError
from nas.finalists.plan import choose_finalists
from tests.finals import FACTS, STUDY, VARIANTS, ended, finals
from tests.samples import latest_front


def test_finalists_are_those_that_dominate_most_together() -> None:
    front = latest_front()
    assert [trial.trial_number for trial in choose_finalists(STUDY, front, FACTS, 8)] == [0, 2, 3]
    # Trial 2 dominates (0.8 - 0.1) ln(20 / 4) = 1.13, trial 0 0.4 ln 20 = 1.20, trial 3 0.75 ln 2.5 = 0.69.
    assert [trial.trial_number for trial in choose_finalists(STUDY, front, FACTS, 1)] == [0]
    assert [trial.trial_number for trial in choose_finalists(STUDY, front, FACTS, 2)] == [0, 2]
    with pytest.raises(InvalidInputError, match="'sample' has no front yet; let the search finish"):
        choose_finalists(STUDY, None, FACTS, 8)


def test_of_equal_tunings_the_earlier_setting_is_chosen_and_only_those_that_ended_count() -> None:
    wanted = finals()
    jobs = {(job.trial_number, job.recipe_hash[0]): job for job in wanted.tuning_jobs()}
    trainings = [
        ended(jobs[0, "b"], 0.5),
        ended(jobs[0, "a"], 0.5),
        ended(jobs[2, "a"], 0.5),
        replace(ended(jobs[2, "b"], 0.9), state="PRUNED"),
        replace(ended(jobs[3, "a"], 0.9), state="FAIL"),
    ]
    assert wanted.choices(trainings) == {0: VARIANTS[0], 2: VARIANTS[0]}
    assert [(job.trial_number, job.seed) for job in wanted.final_jobs(trainings)] == [(0, 8), (2, 8), (0, 9), (2, 9)]


def test_the_plan_says_what_will_be_spent() -> None:
    """Trainings of the search took 3 s for 128 steps: 12 of 8 steps on two workers take 1 s."""
    first, second, third = finals().plan(num_test=1000, workers=2)
    assert first == "study sample: 3 finalists, recipe of 8 steps"
    assert second == "2 settings of it for each, then 2 seeds at the best of them, scored on 1,000 test images"
    assert third == ("at most 12 trainings on 2 workers: 1 s at the pace of the search, less what is stopped early")
    assert "scored on the validation split, which chose them too" in finals().plan(num_test=0, workers=2)[1]


def test_no_more_trainings_are_under_way_than_are_left() -> None:
    wanted = finals()
    tunings = [ended(job, 0.5) for job in wanted.tuning_jobs()]
    final = [ended(job, 0.5) for job in wanted.final_jobs(tunings)]
    assert wanted.most_at_once([]) == 6
    assert finals(num_seeds=3).most_at_once(tunings[:-1]) == 9, "the final trainings that follow"
    assert [wanted.most_at_once([*tunings, *final[:count]]) for count in (0, 4, 6)] == [6, 2, 1]


def test_the_weights_of_all_final_trainings_find_room() -> None:
    sizes = [trial.costs.param_count for trial in finals().finalists]
    assert finals().num_bytes(workers=3) == 4 * (2 * sum(sizes) + 12 * max(sizes))
