"""The ledger of rungs adds up to what was trained."""

from nas.analysis.spending import spending_of, spending_text
from nas.records import Costs, RungScore, TrialFacts, TrialState


def trial(number: int, state: TrialState, ends: list[tuple[int, float]]) -> TrialFacts:
    rungs = tuple(
        RungScore(rung=i, steps=steps, top1=0.5, loss=1.0, duration_s=seconds)
        for i, (steps, seconds) in enumerate(ends)
    )
    return TrialFacts(number, f"{number:064x}", {}, "", Costs(1, 1), 0, state, rungs=rungs)


def test_every_step_is_counted_once_at_the_rung_it_led_to() -> None:
    facts = [
        trial(0, "COMPLETE", [(10, 1.0), (30, 3.5)]),
        trial(1, "PRUNED", [(10, 2.0)]),
        trial(2, "FAIL", [(10, 4.0)]),
        trial(3, "REJECTED", []),
    ]
    first, second = spending_of(facts, batch_size=8)
    assert (first.after_steps, first.reached, first.stopped, first.steps, first.images, first.device_s) == (
        10,
        3,
        1,
        30,
        240,
        7.0,
    )
    assert (second.after_steps, second.reached, second.stopped, second.steps, second.images, second.device_s) == (
        30,
        1,
        0,
        20,
        160,
        2.5,
    )
    assert spending_text([first, second]).splitlines()[1].split()[:6] == ["1", "10", "3", "1", "30", "240"]


def test_no_training_is_no_error() -> None:
    assert spending_of([trial(0, "REJECTED", [])], 8) == ()
