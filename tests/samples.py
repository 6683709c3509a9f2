"""Recorded facts of a small study, for tests of what people see."""

from datetime import UTC, datetime

from nas.pareto.front import FrontKeeper
from nas.records import JSON, Costs, Front, KeptWeights, Latency, RungScore, StudyRecord, TrialFacts, TrialState

TARGET: JSON = {"kind": "cpu", "device_name": "Reference CPU", "threads": 1, "batch": 1}
REFERENCE_POINT = (0.1, 20.0)


def trial(
    number: int,
    top1: float,
    latency_ms: float,
    state: TrialState = "COMPLETE",
    reason: str | None = None,
    duration_s: float = 4.0,
) -> TrialFacts:
    """A trial with 10,000 parameters and 2,000,000 multiply-adds per millisecond; no scores when it failed or was
    rejected."""
    scored = state in ("COMPLETE", "PRUNED")
    return TrialFacts(
        trial_number=number,
        arch_hash=f"{number:064x}",
        spec={},
        layout=f"layout <{number}>",
        costs=Costs(param_count=round(latency_ms * 10_000), macs=round(latency_ms * 2_000_000)),
        seed=7,
        state=state,
        reason=reason,
        latency=Latency(TARGET, {}, latency_ms, latency_ms * 0.95, latency_ms * 1.1, latency_ms * 1.3, 50),
        rungs=(RungScore(0, 128, top1, 0.5, 3.0),) if scored else (),
        weights=KeptWeights(f"weights/{number}.safetensors", f"{number:064x}") if scored else None,
        device="cpu",
        worker="worker 0",
        duration_s=duration_s,
    )


TRIALS = (
    trial(0, 0.50, 1.0),
    trial(1, 0.45, 2.0),
    trial(2, 0.80, 4.0),
    trial(3, 0.85, 8.0),
    trial(4, 0.30, 1.5, "PRUNED", duration_s=2.0),
    trial(5, 0.0, 9.0, "FAIL", "non-finite loss", duration_s=1.0),
    trial(6, 0.0, 30.0, "REJECTED", "latency_ms 30 over the limit 20", duration_s=0.5),
    trial(7, 0.0, 9.5, "FAIL", "non-finite loss", duration_s=1.0),
)
"""Trials 0, 2 (the knee) and 3 are the front."""


def study_record(cost_objective: str = "latency_ms", name: str = "sample") -> StudyRecord:
    return StudyRecord(
        name=name,
        uid=name.encode().hex()[:32],
        space="tiny",
        space_module="",
        scale="nano",
        mixers="",
        space_hash="ab" * 32,
        objectives=("top1", cost_objective),
        reference_point=REFERENCE_POINT,
        data="digits",
        data_location="digits",
        data_fingerprint="cd" * 32,
        recipe={"batch_size": 64},
        target=TARGET if cost_objective == "latency_ms" else None,
        limits={"latency_ms": 20.0},
        seed=7,
        device="cpu",
        artifacts="artifacts",
        config={"budget": 10},
        code_version="0.1.0",
        created=datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
    )


def latest_front(cost_objective: str = "latency_ms") -> Front:
    keeper = FrontKeeper(cost_objective, REFERENCE_POINT)
    snapshots = [snapshot for facts in TRIALS if (snapshot := keeper.add(facts))]
    return snapshots[-1]
