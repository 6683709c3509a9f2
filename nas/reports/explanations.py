"""An explanation as text, JSON and a page. Pure functions over nas.analysis.explain.Explanation."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from nas.analysis.explain import Change, Explanation
from nas.analysis.influence import GeneReport
from nas.analysis.lineage import Ancestor
from nas.analysis.score_reports import score_text
from nas.records import JSON
from nas.reports.pages import write_page
from nas.surrogates.latency_model import PartTime, held_out_text
from nas.surrogates.quality import Quality
from nas.text import cost_axis, cost_text, json_text, text_table

SMALL_SHARE = 0.01
"""Genes with less influence than this on both targets are counted and not listed."""
MANY_GENES = 8
"""A step of a lineage that changes more genes than this is summed up."""


def explanation_text(explanation: Explanation) -> str:
    """Everything for people: quality, genes, lineages, and the changes of the trial that was asked for."""
    parts = [_head(explanation), _genes_text(explanation), _lineages_text(explanation)]
    if explanation.latency is not None:
        cells = [_part_cells(row) for row in explanation.latency.table]
        parts.append(
            "latency by parts; "
            f"{held_out_text(explanation.latency.quality)}\n{text_table(_PART_HEADER, cells, right=0)}"
        )
    if explanation.trial_number is not None:
        parts.append(_changes_text(explanation))
    return "\n\n".join(parts)


def explanation_data(explanation: Explanation) -> JSON:
    """Everything as JSON values, in base units: top1 as fractions, effects on the cost as changes of its natural
    logarithm."""
    data = dataclasses.asdict(explanation)
    for gene, report in zip(data["genes"], explanation.genes, strict=True):
        gene |= {"best_for_top1": report.best_for_top1, "cheapest": report.cheapest}
    return data


def explanation_json(explanation: Explanation) -> str:
    """The same as a text."""
    return json_text(explanation_data(explanation))


def html_explanation(path: Path, explanation: Explanation) -> None:
    """Write the explanation as one HTML file that needs no network.

    Args:
        path: where to; it ends in .html, an existing file is replaced.
        explanation: what to show.

    Raises:
        InvalidInputError: if the file cannot be written as asked.
    """
    sections = [
        {"title": title, "head": list(head), "rows": list(map(list, rows)), "note": note}
        for title, note, head, rows in _sections(explanation)
    ]
    bars = [
        {"gene": gene.gene, "top1": _bar(gene.top1.total), "cost": _bar(gene.cost.total)} for gene in explanation.genes
    ]
    page: JSON = {
        "title": explanation.study,
        "head": _head(explanation).splitlines()[1:],
        "cost": cost_axis(explanation.cost_objective).partition(",")[0],
        "bars": bars,
        "sections": sections,
    }
    write_page(path, "explain_template.html", explanation.study, page)


def _sections(explanation: Explanation) -> Iterator[tuple[str, str, Sequence[str], Sequence[Sequence[str]]]]:
    """Title, note, header and rows of each table of the page."""
    yield (
        "What each value does",
        _VALUES_NOTE,
        _gene_header(explanation),
        [_gene_row(gene) for gene in explanation.genes],
    )
    steps: list[Sequence[str]] = []
    for chain in explanation.lineages:
        cells = [_step_cells(step, explanation.cost_objective) for step in chain]
        steps.append((f"trial {chain[0].trial_number}", *cells[0]))
        steps += [("", *later) for later in cells[1:]]
    yield "How the front came about", _LINEAGE_NOTE, ("member", *_STEP_HEADER), steps
    if explanation.latency is not None:
        note = f"{held_out_text(explanation.latency.quality).capitalize()}. {_PARTS_NOTE}"
        yield (
            "What the parts of a network take",
            note,
            _PART_HEADER,
            [_part_cells(row) for row in explanation.latency.table],
        )
    if explanation.trial_number is not None:
        title = f"One gene of trial {explanation.trial_number} changed"
        yield title, _CHANGES_NOTE, _CHANGE_HEADER, [_change_cells(change) for change in explanation.changes]


_VALUES_NOTE = (
    "Share of the predicted variance over random architectures: alone, and with interactions. Effects of a value "
    "are mean changes against "
    "the mean of all values: of top1 in points (hundredths), of the cost in percent."
)
_LINEAGE_NOTE = (
    "Each member, its nearest earlier finished trial by number of different genes, and so on; near, not necessarily "
    "derived from."
)
_CHANGES_NOTE = "Expected by the surrogate, with the standard deviation of the change; top1 in points (hundredths)."
_PARTS_NOTE = (
    "Fitted to the timings of this study; share is that of the time of all timed networks. No front rests on it."
)
_PART_HEADER = ("part", "share", "ms each", "ms per M macs", "parts timed")
_STEP_HEADER = ("trial", "top1", "cost", "relative", "top1 change", "cost change", "genes changed")
_CHANGE_HEADER = ("gene", "from", "to", "top1", "cost", "note")


def _head(explanation: Explanation) -> str:
    rests_on = f"rests on {explanation.trials} finished trials"
    if explanation.learned_from != explanation.trials:
        rests_on += f", a random {explanation.learned_from} of them are learned from"
    if explanation.left_out:
        left_out = ", ".join(f"{count} {state}" for state, count in sorted(explanation.left_out.items()))
        rests_on += f"; left out: {left_out}"
    lines = [explanation.study, rests_on, *map(_quality_text, explanation.quality)]
    if explanation.cost_objective != "latency_ms":
        lines.append(f"{explanation.cost_objective} of every network is counted, so exact")
    lines += [f"score {score_text(report)}" for report in explanation.scores]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in explanation.warnings)])


def _quality_text(quality: Quality) -> str:
    r2, rank = ("undefined" if value is None else f"{value:.2f}" for value in (quality.r2, quality.rank_correlation))
    return f"held out, {quality.trials} trials: {quality.target} predicted with R2 {r2}, rank correlation {rank}"


def _genes_text(explanation: Explanation) -> str:
    shown = [gene for gene in explanation.genes if max(gene.top1.total, gene.cost.total) >= SMALL_SHARE]
    left = len(explanation.genes) - len(shown)
    lines = [
        "genes: share of the variance (alone, with interactions) and effect of each value (top1 in points, cost "
        "in percent)",
        text_table(_gene_header(explanation), map(_gene_row, shown), right=0),
    ]
    if left:
        lines.append(f"{left} genes with less than {SMALL_SHARE:.0%} of both left out")
    return "\n".join(lines)


def _gene_header(explanation: Explanation) -> Sequence[str]:
    cost = cost_axis(explanation.cost_objective).partition(",")[0]
    return ("gene", "top1", cost, "best top1", "cheapest", "top1 by value", f"{cost} by value")


def _gene_row(gene: GeneReport) -> Sequence[str]:
    shares = (f"{influence.alone:.0%}, {influence.total:.0%}" for influence in (gene.top1, gene.cost))
    # A gene without influence has no best value.
    best, cheapest = (
        str(value) if influence.total >= SMALL_SHARE else ""
        for value, influence in ((gene.best_for_top1, gene.top1), (gene.cheapest, gene.cost))
    )
    points = " ".join(
        f"{value}:{100 * effect:+.1f}" for value, effect in zip(gene.values, gene.top1.effects, strict=True)
    )
    percents = " ".join(
        f"{value}:{100 * math.expm1(effect):+.0f}" for value, effect in zip(gene.values, gene.cost.effects, strict=True)
    )
    directions = (_direction(gene, influence.effects) for influence in (gene.top1, gene.cost))
    texts = [f"{text}{direction}" for text, direction in zip((points, percents), directions, strict=True)]
    return (gene.gene, *shares, best, cheapest, *texts)


def _direction(gene: GeneReport, effects: Sequence[float]) -> str:
    """Whether it rises or falls over the values of an ordered gene."""
    if not gene.ordered or len(effects) < 2 or max(effects) - min(effects) < 1e-9:
        return ""
    if list(effects) == sorted(effects):
        return " (rises)"
    return " (falls)" if list(effects) == sorted(effects, reverse=True) else ""


def _lineages_text(explanation: Explanation) -> str:
    if not explanation.lineages:
        return "the study has no front yet, so there is no lineage"
    lines = ["lineage: each member of the front, its nearest earlier relative, and so on"]
    told: set[int] = set()
    asked = explanation.lineage
    others = [asked] if asked and asked not in explanation.lineages else []
    for chain in (*explanation.lineages, *others):
        lines.append(f"{'trial' if chain in others else 'member'} {chain[0].trial_number}:")
        for step in chain:
            if step.trial_number in told:
                lines.append(f"  {step.trial_number}: as above")
                break
            told.add(step.trial_number)
            trial, top1, cost, parent, top1_change, cost_change, changed = _step_cells(step, explanation.cost_objective)
            origin = " the first finished trial"
            if parent:
                origin = f" from {parent}: {changed}; top1 {top1_change}, cost {cost_change}"
            lines.append(f"  {trial} (top1 {top1}, {cost}){origin}")
    return "\n".join(lines)


def _step_cells(step: Ancestor, cost_objective: str) -> Sequence[str]:
    cells = (str(step.trial_number), f"{step.top1:.4f}", cost_text(cost_objective, step.cost))
    if step.parent is None:
        return (*cells, "", "", "", "")
    changed = ", ".join(f"{gene} {before} -> {after}" for gene, before, after in step.changed[:MANY_GENES])
    if len(step.changed) > MANY_GENES:
        changed = f"{len(step.changed)} genes, a distant relative"
    return (*cells, str(step.parent), f"{step.top1_change:+.4f}", f"{step.cost_percent:+.1f} %", changed)


def _changes_text(explanation: Explanation) -> str:
    effective = [change for change in explanation.changes if change.no_effect is None]
    lines = [
        f"one gene of trial {explanation.trial_number} changed: expected effect (top1 in points, with its standard "
        "deviation)"
    ]
    lines.append(text_table(_CHANGE_HEADER, [_change_cells(change) for change in effective], right=0))
    for why in sorted({change.no_effect for change in explanation.changes if change.no_effect is not None}):
        by_gene: dict[str, list[str]] = {}
        for change in explanation.changes:
            if change.no_effect == why:
                by_gene.setdefault(change.gene, []).append(str(change.after))
        lines.append(
            f"no effect, {why}: " + "; ".join(f"{gene} {' '.join(values)}" for gene, values in by_gene.items())
        )
    return "\n".join(lines)


def _change_cells(change: Change) -> Sequence[str]:
    head = (change.gene, str(change.before), str(change.after))
    if change.no_effect is not None:
        return (*head, "", "", f"no effect: {change.no_effect}")
    also = f"repair gives {', '.join(change.also)}" if change.also else ""
    return (*head, f"{100 * change.top1:+.1f} ± {100 * change.top1_sd:.1f}", f"{change.cost_percent:+.1f} %", also)


def _part_cells(row: PartTime) -> Sequence[str]:
    return row.kind, f"{row.share:.1%}", f"{row.each_ms:.4f}", f"{row.per_million_macs_ms:.4f}", str(row.num_parts)


def _bar(share: float) -> float:
    """Percent of the width of the page's bar."""
    return 100 * min(share, 1.0)
