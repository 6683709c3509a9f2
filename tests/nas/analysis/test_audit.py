"""The sample of an audit, its taus and its warnings."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from nas.analysis.audit import MORE, Audit, Predictor, audit, audit_json, audit_text, stratified_sample
from nas.analysis.audit_log import AuditTraining
from nas.records import RungScore, TrialFacts, TrialState
from nas.surrogates.quality import Agreement
from tests.samples import study_record
from tests.samples import trial as sample_trial

RECIPE = {"rungs": [768], "batch_size": 64}


def trial(number: int, scores: Sequence[float], state: TrialState = "COMPLETE") -> TrialFacts:
    rungs = tuple(RungScore(rung, 48 * (rung + 1), top1, 0.5, 3.0) for rung, top1 in enumerate(scores))
    return replace(sample_trial(number, 0.5, 1.0 + number, state), rungs=rungs)


def whole(num: int) -> list[TrialFacts]:
    """Trial n has top1 n / 100."""
    return [trial(number, [number / 100]) for number in range(num)]


def audit_of(
    facts: Sequence[TrialFacts], final: Sequence[float], steps: Sequence[int] = (48,), **zero_cost: Sequence[float]
) -> Audit:
    trainings = {
        one.arch_hash: AuditTraining(
            one.arch_hash, "d", "r", 1000, top1, 9.5, "cpu", {name: values[place] for name, values in zero_cost.items()}
        )
        for place, (one, top1) in enumerate(zip(facts, final, strict=True))
    }
    study = replace(study_record(), recipe={"rungs": list(steps), "batch_size": 64})
    return audit(study, RECIPE, 1000, facts, trainings)


def by_name(result: Audit) -> dict[str, Predictor]:
    return {predictor.name: predictor for predictor in result.predictors}


def test_every_stratum_of_the_ranks_gives_one() -> None:
    facts = whole(60)
    chosen = stratified_sample(facts, 12, seed=1)
    assert [one.trial_number // 5 for one in chosen] == list(range(12))
    assert chosen == stratified_sample(list(reversed(facts)), 12, seed=1)
    assert chosen != stratified_sample(facts, 12, seed=2)


def test_a_doubled_sample_has_the_first_one_in_it() -> None:
    facts = whole(48)
    small, large = ({one.trial_number for one in stratified_sample(facts, count, seed=1)} for count in (6, 12))
    assert small < large


def test_what_is_trained_already_comes_first_within_its_stratum() -> None:
    facts = whole(20)
    trained = {facts[number].arch_hash for number in (3, 7, 8)}
    chosen = [one.trial_number for one in stratified_sample(facts, 5, seed=1, trained=trained)]
    assert chosen[:3] == [3, 7, 8]
    assert [number // 4 for number in chosen] == list(range(5))


@pytest.mark.parametrize(
    ("complete", "pruned", "count", "expected"),
    [
        (30, 30, 12, (6, 6)),
        (10, 50, 12, (6, 6)),  # at least half
        (50, 10, 12, (10, 2)),  # in proportion
        (50, 1, 12, (12, 0)),
        (11, 5, 16, (11, 5)),  # all there are
        (4, 50, 12, (4, 4)),  # no more PRUNED than COMPLETE
        (3, 0, 12, (3, 0)),
        (0, 9, 12, (0, 0)),
    ],
)
def test_at_least_half_of_the_sample_was_finished(
    complete: int, pruned: int, count: int, expected: tuple[int, int]
) -> None:
    facts = whole(complete) + [trial(100 + number, [number / 100], "PRUNED") for number in range(pruned)]
    facts += [
        sample_trial(300, 0.0, 9.0, "FAIL", "non-finite loss"),
        sample_trial(301, 0.0, 9.0, "REJECTED", "too large"),
    ]
    chosen = stratified_sample(facts, count, seed=1)
    assert tuple(sum(one.state == state for one in chosen) for state in ("COMPLETE", "PRUNED")) == expected
    assert len(chosen) == sum(expected)


def test_stopped_trials_are_of_all_rungs_they_reached() -> None:
    facts = whole(8) + [trial(100 + number, [0.9] if number < 4 else [0.1, 0.1], "PRUNED") for number in range(8)]
    chosen = [one.trial_number for one in stratified_sample(facts, 8, seed=1) if one.state == "PRUNED"]
    assert [number < 104 for number in chosen] == [True, True, False, False]


def test_a_perfect_proxy_has_no_warning() -> None:
    result = audit_of(whole(8), [0.5 + number / 100 for number in range(8)], synflow=range(8, 0, -1))
    found = by_name(result)
    assert list(found) == ["search proxy, 48 steps", "param_count", "macs", "synflow", "az_nas"]
    assert found["search proxy, 48 steps"].agreement == Agreement(1.0, 1.0, 1.0, 8)
    assert found["synflow"].agreement == Agreement(-1.0, -1.0, -1.0, 8)
    assert (found["az_nas"].num, found["az_nas"].agreement) == (0, None)
    assert result.warnings == ()
    assert [one.trial_number for one in result.trials] == list(range(7, -1, -1))


def test_a_proxy_below_the_bound_is_warned_of() -> None:
    result = audit_of(whole(8), [0.9 - number / 100 for number in range(8)])
    (warning,) = result.warnings
    assert warning.startswith(
        "warning: search proxy, 48 steps: tau -1.00 is below 0.4: do not choose by the order of this search"
    )


def test_an_interval_that_reaches_below_the_bound_is_noted() -> None:
    result = audit_of(whole(6), [0.1, 0.3, 0.2, 0.4, 0.6, 0.5])
    found = by_name(result)["search proxy, 48 steps"].agreement
    assert found is not None and found.low < 0.4 < found.tau
    reaches = f"note: intervals that reach below 0.4: search proxy, 48 steps ({found.low:.2f})"
    assert result.warnings == (f"{reaches}; to narrow them, {MORE}",)


def test_one_value_only_has_no_tau_and_says_so() -> None:
    result = audit_of(whole(6), [0.5] * 6)
    assert result.warnings == (f"warning: search proxy, 48 steps: no tau, 6 architectures have no two values; {MORE}",)
    assert "none" in audit_text(result)


def test_each_rung_is_judged_by_all_that_reached_it_and_the_proxy_by_what_was_finished() -> None:
    finished = [trial(number, [0.9 - number / 100, number / 100]) for number in range(6)]
    stopped = [trial(10 + number, [0.1 + number / 100], "PRUNED") for number in range(3)]
    result = audit_of(finished + stopped, [0.6 + number / 100 for number in range(6)] + [0.1, 0.2, 0.3], steps=(48, 96))
    found = by_name(result)
    assert (found["search proxy, 96 steps"].kind, found["search proxy, 96 steps"].num) == ("search", 6)
    rung = found["rung 1 of 2, 48 steps"]
    assert (rung.kind, rung.num) == ("rung", 9)
    # Of 36 pairs, the 15 among the finished are in the reverse order and the other 21 in order.
    assert rung.agreement is not None and rung.agreement.tau == pytest.approx((21 - 15) / 36)
    assert [warning for warning in result.warnings if "rung 1 of 2" in warning and "fewer --rungs" in warning]


def test_az_nas_is_the_sum_of_the_logarithms_of_four_ranks() -> None:
    facts = whole(3)  # whose macs rise
    scores: dict[str, Sequence[float]] = {
        "expressivity": [3, 2, 1],
        "progressivity": [1, 3, 2],
        "trainability": [-1, -2, -3],
    }
    ranks = ([3, 1, 3, 1], [2, 3, 2, 2], [1, 2, 1, 3])
    sums = [sum(math.log(rank / 3) for rank in row) for row in ranks]
    assert sorted(range(3), key=lambda place: sums[place]) == [2, 0, 1]
    result = audit_of(facts, [0.6, 0.7, 0.5], **scores)
    found = by_name(result)["az_nas"].agreement
    assert found is not None and found.tau == 1.0


def test_a_training_free_proxy_without_a_value_is_counted_out() -> None:
    facts = whole(6)
    final = {
        one.arch_hash: AuditTraining(
            one.arch_hash, "d", "r", 1, 0.1 * place, 1.0, "cpu", {"zico": 1.0 * place} if place else {}
        )
        for place, one in enumerate(facts)
    }
    study = replace(study_record(), recipe={"rungs": [48], "batch_size": 64})
    assert by_name(audit(study, RECIPE, 1, facts, final))["zico"].num == 5


def test_text_and_json_say_the_same() -> None:
    facts = [*whole(6), trial(20, [0.02], "PRUNED")]
    result = audit_of(facts, [0.5 + number / 100 for number in range(7)], steps=(48, 96), zico=range(7))
    text = audit_text(result)
    assert str(result) == text
    assert (
        text.splitlines()[0]
        == "sample: 7 architectures (6 COMPLETE, 1 PRUNED), each trained for 768 steps with seed 1000"
    )
    data: dict[str, Any] = json.loads(audit_json(result))
    assert [row["name"] for row in data["predictors"]] == [predictor.name for predictor in result.predictors]
    for predictor in data["predictors"]:
        found = predictor["agreement"]
        row = f"{found['tau']:.2f}  {found['low']:.2f} to {found['high']:.2f}" if found else "none"
        assert any(row.split()[0] in line and line.endswith(predictor["name"]) for line in text.splitlines())
    assert data["warnings"] == list(result.warnings) and data["recipe"] == RECIPE
    assert "layout <20>" in text
