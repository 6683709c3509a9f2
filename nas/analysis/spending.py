"""Where the training went: steps, images and device time between rungs."""

from collections.abc import Iterable
from dataclasses import dataclass

from nas.records import TrialFacts
from nas.text import count_text, duration_text, text_table


@dataclass(slots=True)
class RungSpending:
    """What all trials of a study spent on the way to one rung, from the rung before it."""

    rung: int
    """0-based."""
    after_steps: int
    """Optimizer steps of one training up to the rung."""
    reached: int = 0
    stopped: int = 0
    """PRUNED here."""
    steps: int = 0
    """Optimizer steps."""
    images: int = 0
    """Training images seen, repeats counted."""
    device_s: float = 0.0
    """Training and validation, waiting for the device excluded."""


def spending_of(facts: Iterable[TrialFacts], batch_size: int) -> tuple[RungSpending, ...]:
    """Add up the recorded curves, those of stopped and failed trials included.

    Args:
        facts: all trials of a study, in any order.
        batch_size: images per optimizer step.

    Returns:
        One entry per rung that was reached, ascending. What a failure or a kill cut off between two rungs is not in it.
    """
    rungs: dict[int, RungSpending] = {}
    for trial in facts:
        steps = 0
        device_s = 0.0
        for score in trial.rungs:
            spent = rungs.setdefault(score.rung, RungSpending(score.rung, score.steps))
            spent.reached += 1
            spent.steps += score.steps - steps
            spent.images += (score.steps - steps) * batch_size
            spent.device_s += score.duration_s - device_s
            steps = score.steps
            device_s = score.duration_s
        if trial.state == "PRUNED" and trial.rungs:
            rungs[trial.rungs[-1].rung].stopped += 1
    return tuple(rungs[rung] for rung in sorted(rungs))


def spending_text(spending: Iterable[RungSpending]) -> str:
    """One line per rung."""
    rows = [
        (
            *map(str, (s.rung + 1, s.after_steps, s.reached, s.stopped)),
            count_text(s.steps),
            count_text(s.images),
            duration_text(s.device_s),
        )
        for s in spending
    ]
    return text_table(("rung", "after steps", "reached", "stopped", "steps", "images", "device time"), rows, right=6)
