"""What second timings of a front's members say of their places, in lines. Pure functions over records."""

import statistics
from collections.abc import Sequence

from nas.pareto.places import Place, latest, places
from nas.pareto.targets import Timings, target_text, view_on
from nas.records import Front, Retiming, StudyRecord, TrialFacts
from nas.text import cost_text, latency_text


def places_text(front: Front, again: Sequence[Place]) -> list[str]:
    """One line about all members, and one for each that is dominated now; nothing where nothing was timed again."""
    if not again:
        return []
    members = len(front.members)
    largest = max(again, key=lambda place: abs(place.change))
    number = str(members) if len(again) == members else f"{len(again)} of {members}"
    within = sum(place.first.ci_low_ms <= place.second.median_ms <= place.first.ci_high_ms for place in again)
    middle = statistics.median(place.change for place in again)
    first, second = (cost_text("latency_ms", timing.median_ms) for timing in (largest.first, largest.second))
    head = (
        f"{number} members of the front timed again: {middle:+.1%} in the middle, {within} within their first "
        "interval, "
        f"largest change trial {largest.trial_number}, {first} -> {second} ({largest.change:+.1%})"
    )
    return [head, *(_lost_text(place, place.rival) for place in again if place.rival is not None)]


def _lost_text(place: Place, rival: Place) -> str:
    verdict = "lost its place" if place.is_lost else "may have lost its place, the intervals overlap"
    first = latency_text(place.first)
    second = latency_text(place.second)
    return (
        f"trial {place.trial_number} {verdict}: top1 {place.top1:.4f}, {first} at first, {second} now; "
        f"trial {rival.trial_number} has top1 {rival.top1:.4f} and {latency_text(rival.second)} now"
    )


def retimings_text(
    study: StudyRecord, facts: Sequence[TrialFacts], timings: Timings, retimings: Sequence[Retiming]
) -> list[str]:
    """The lines of `places_text` for every target on which members of the study's fronts were timed again, its own
    first."""
    if study.cost_objective != "latency_ms":
        return []
    others = {str(retiming.target): retiming.target for retiming in retimings if retiming.target != study.target}
    lines = []
    for target in (study.target, *others.values()):
        view = None if target is None else view_on(study, facts, timings, target)
        if view is not None:
            told = places_text(view.front, places(view.front, view.facts, latest(retimings, target)))
            lines += told if target == study.target else [f"on {target_text(target or {})}: {line}" for line in told]
    return lines
