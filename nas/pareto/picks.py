"""Which study of a database a person means, and which of its trials: the knee, the most accurate, the fastest, one by
number, or the best within a latency."""

import re
from collections.abc import Mapping, Sequence

from nas.errors import InvalidInputError
from nas.pareto.front import knee
from nas.records import FinalFront, Front, StudyRecord, TrialFacts

EXPECTED = "expected knee, accuracy, latency, trial:N (a number) or latency:MS (milliseconds)"


def pick_study(study: str | None, studies: Sequence[StudyRecord]) -> StudyRecord:
    """The study of that name; the only one, if no name is given.

    Raises:
        InvalidInputError: if there is no such study, or none is named where there is not exactly one.
    """
    by_name = {record.name: record for record in studies}
    known = ", ".join(by_name) or "none"
    if study is None:
        if len(by_name) != 1:
            raise InvalidInputError(f"which study? the database has {known}; give one with --study")
        return studies[0]
    if study not in by_name:
        raise InvalidInputError(f"there is no study {study!r}; the database has {known}")
    return by_name[study]


def pick_trial(
    pick: str, front: Front | FinalFront | None, facts: Mapping[int, TrialFacts], cost_objective: str
) -> TrialFacts:
    """The trial that `pick` names.

    Args:
        pick: knee, accuracy (the most accurate member of the front), latency (its cheapest member, whatever the study's
            cost is), trial:N, or latency:MS (the most accurate member with a median of at most MS milliseconds).
        front: the study's latest front, or its final front; None when it has none yet.
        facts: recorded trials by number.
        cost_objective: the study's cost.

    Raises:
        InvalidInputError: if the pick is malformed, or there is no such trial with a score.
    """
    if number := re.fullmatch(r"trial:(\d+)", pick):
        return _scored(int(number[1]), facts)
    limit = re.fullmatch(r"latency:(\d+(?:\.\d*)?|\.\d+)(?:ms)?", pick)
    if pick not in ("knee", "accuracy", "latency") and limit is None:
        raise InvalidInputError(f"--pick is {pick!r}; {EXPECTED}")
    if front is None or not front.members:
        raise InvalidInputError(
            f"--pick is {pick!r}, and the study has no front yet; let the search finish at least one trial"
        )
    if limit is None:
        member = {"knee": knee(front.members), "accuracy": front.members[-1], "latency": front.members[0]}[pick]
        return facts[member.trial_number]
    if cost_objective != "latency_ms":
        raise InvalidInputError(
            f"--pick is {pick!r}, and the study's cost is {cost_objective}; expected knee, accuracy, latency or trial:N"
        )
    within = [member for member in front.members if member.cost <= float(limit[1])]
    if not within:
        raise InvalidInputError(
            f"--pick is {pick!r}, and the fastest member of the front takes {front.members[0].cost:.4g} ms"
        )
    return facts[within[-1].trial_number]


def pick_trials(chosen: str, front: Front | None, facts: Mapping[int, TrialFacts]) -> list[TrialFacts]:
    """The finished trials that `chosen` names: front, all, or numbers separated by commas.

    Raises:
        InvalidInputError: if it is malformed, there is no such trial with a score, or none at all.
    """
    if chosen == "all":
        picked = [trial for trial in facts.values() if trial.state == "COMPLETE"]
    elif chosen == "front":
        picked = [facts[member.trial_number] for member in front.members] if front else []
    elif re.fullmatch(r"\d+(,\d+)*", chosen):
        picked = [_scored(number, facts, "--trials") for number in dict.fromkeys(map(int, chosen.split(",")))]
    else:
        raise InvalidInputError(f"--trials is {chosen!r}; expected front, all, or numbers such as 3,7,12")
    if not picked:
        raise InvalidInputError("the study has no finished trial yet; let the search finish at least one")
    return picked


def _scored(number: int, facts: Mapping[int, TrialFacts], option: str = "--pick") -> TrialFacts:
    given = f"--pick is 'trial:{number}'" if option == "--pick" else f"{option} names {number}"
    if number not in facts:
        known = f"its trials are {min(facts)} to {max(facts)}" if facts else "it has no trials yet"
        raise InvalidInputError(f"{given}, and the study has no such trial; {known}")
    trial = facts[number]
    if trial.state != "COMPLETE":
        reason = trial.reason or f"stopped at rung {len(trial.rungs)}"
        raise InvalidInputError(f"{given}, and that trial is {trial.state} ({reason}); expected one that finished")
    return trial
