"""What records say of themselves."""

from tests.samples import TRIALS, study_record


def test_trained_trials_count_towards_the_budget_whether_they_were_stopped_or_not() -> None:
    states = {(trial.state, trial.is_counted) for trial in TRIALS}
    assert states == {("COMPLETE", True), ("PRUNED", True), ("FAIL", False), ("REJECTED", False)}


def test_a_study_names_its_cost() -> None:
    assert [study_record(cost).cost_objective for cost in ("latency_ms", "macs")] == ["latency_ms", "macs"]
