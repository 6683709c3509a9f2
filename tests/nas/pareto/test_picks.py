import re

import pytest

from nas.errors import InvalidInputError
from nas.pareto.front import FrontKeeper
from nas.pareto.picks import pick_study, pick_trial
from nas.records import Costs, Latency, RungScore, TrialFacts
from tests.samples import study_record


def trial(number: int, top1: float, ms: float, state: str = "COMPLETE") -> TrialFacts:
    score = RungScore(rung=0, steps=1, top1=top1, loss=1.0, duration_s=1.0)
    latency = Latency({}, {}, ms, ms, ms, ms, 30)
    return TrialFacts(
        number,
        f"h{number}",
        {},
        "l",
        Costs(1, 1),
        seed=0,
        state=state,
        latency=latency,
        rungs=(score,),
        reason="loss is nan" if state == "FAIL" else None,
    )


FINISHED = [trial(0, 0.1, 1), trial(1, 0.8, 2), trial(2, 0.85, 8), trial(3, 0.9, 64)]
FACTS = {t.trial_number: t for t in [*FINISHED, trial(4, 0.0, 9, "FAIL"), trial(5, 0.3, 9, "PRUNED")]}
KEEPER = FrontKeeper("latency_ms", (0.0, 100.0))
FRONT = [front for facts in FACTS.values() if (front := KEEPER.add(facts))][-1]


@pytest.mark.parametrize(
    ("pick", "number"),
    [("knee", 1), ("accuracy", 3), ("latency", 0), ("trial:2", 2), ("latency:8", 2), ("latency:63.9ms", 2)],
)
def test_picks(pick: str, number: int) -> None:
    assert pick_trial(pick, FRONT, FACTS, "latency_ms").trial_number == number


@pytest.mark.parametrize(
    ("pick", "message"),
    [
        ("best", "expected knee, accuracy"),
        ("trial:x", "expected knee, accuracy"),
        ("trial:9999", "no such trial; its trials are 0 to 5"),
        ("trial:4", "FAIL \\(loss is nan\\)"),
        ("trial:5", "PRUNED \\(stopped at rung 1\\)"),
        ("latency:0.5", "fastest member of the front takes 1 ms"),
    ],
)
def test_bad_picks_say_what_there_is(pick: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        pick_trial(pick, FRONT, FACTS, "latency_ms")


def test_picks_need_a_front() -> None:
    with pytest.raises(InvalidInputError, match="no front yet"):
        pick_trial("knee", None, {}, "latency_ms")


def test_latency_pick_needs_a_study_that_measures_it() -> None:
    with pytest.raises(InvalidInputError, match="cost is macs"):
        pick_trial("latency:3", FRONT, FACTS, "macs")


def test_the_only_study_needs_no_name() -> None:
    one = study_record(name="one")
    two = study_record(name="two")
    assert pick_study(None, [one]) is one
    assert pick_study("two", [one, two]) is two


@pytest.mark.parametrize(
    ("name", "known", "message"),
    [
        (None, ["one", "two"], "which study? the database has one, two; give one with --study"),
        (None, [], "which study? the database has none"),
        ("three", ["one", "two"], "there is no study 'three'; the database has one, two"),
    ],
)
def test_other_names_are_refused_with_those_there_are(name: str | None, known: list[str], message: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        pick_study(name, [study_record(name=study) for study in known])
