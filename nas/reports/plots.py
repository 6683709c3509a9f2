"""Pictures of a front and of its history: a still one through matplotlib, an interactive one as a single HTML file."""

import dataclasses
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullFormatter

from nas.files import write_file
from nas.pareto.front import knee_number
from nas.pareto.history import History
from nas.records import JSON, FinalFront, Front, StudyRecord, TrialFacts
from nas.reports.pages import PICTURE_SUFFIXES, write_page
from nas.text import cost_axis, cost_in_unit, cost_text, duration_text

_GREEN = "#1b7f5c"
_GREY = "#8a8f98"
_LIGHT = "#d3d6db"
_RED = "#c0392b"


@dataclass(frozen=True, slots=True)
class _Point:
    """One scored trial, its cost in the unit of the axis."""

    trial: int
    top1: float
    cost: float
    low: float
    high: float
    """95 % interval of a timed cost; the cost itself where nothing was timed."""
    top1_low: float
    top1_high: float
    """95 % interval of a mean over seeds; top1 itself where there was one training."""
    group: Literal["front", "finished", "stopped"]
    knee: bool
    label: str
    """Cost, size and layout, for people."""


def plot_front(path: Path, front: Front, facts: Iterable[TrialFacts], study: StudyRecord) -> None:
    """Draw top1 against the cost (logarithmic axis) of every scored trial, with the front, its intervals and its knee.

    Args:
        path: where to; .png, .svg or .pdf, an existing file is replaced.
        front: the snapshot to draw.
        facts: all trials of the study, in any order.
        study: its record.

    Raises:
        InvalidInputError: if the file cannot be written as asked.
    """
    points = _points(front, facts, study)
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    for group, name, colour in (("stopped", "stopped early", _LIGHT), ("finished", "finished", _GREY)):
        chosen = [point for point in points if point.group == group]
        if chosen:
            label = f"{name} ({len(chosen)})"
            axes.scatter(
                [p.cost for p in chosen], [p.top1 for p in chosen], s=16, color=colour, linewidths=0, label=label
            )
    _draw_front(axes, [point for point in points if point.group == "front"])
    _label(axes, _subtitle(front, study), "validation top1", study)
    _save(path, figure)


def plot_final_front(path: Path, front: FinalFront, facts: Mapping[int, TrialFacts], study: StudyRecord) -> None:
    """Draw the finalists with the intervals of top1 and cost, and how probably each is on the front.

    Arguments and errors are those of `plot_front`.
    """
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    points = _final_points(front, facts, study)
    _draw_points(axes, [point for point in points if point.group != "front"], _GREY, "not on it")
    _draw_front(axes, [point for point in points if point.group == "front"])
    for point, finalist in zip(points, front.finalists, strict=True):
        note = f"trial {point.trial}, P {finalist.front_probability:.2f}"
        axes.annotate(note, (point.cost, point.top1), (7, 7), textcoords="offset points", fontsize=8)
    _label(axes, _final_subtitle(front, study), _final_top1(front), study)
    _save(path, figure)


def _save(path: Path, figure: Figure) -> None:
    image = io.BytesIO()
    suffix = path.suffix.lower()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the name of a study may be in any script
        figure.savefig(image, format=suffix.lstrip(".") if suffix in PICTURE_SUFFIXES else "png", dpi=150)
    write_file(path, image.getvalue(), PICTURE_SUFFIXES)


def html_front(path: Path, front: Front, facts: Iterable[TrialFacts], study: StudyRecord) -> None:
    """Write the same picture as one HTML file that needs no network: pointing at a trial shows its layout, clicking
    keeps it shown.

    Arguments and errors are those of `plot_front`; the name ends in .html.
    """
    legend = (
        "Green: the front, its knee ringed in red, with 95 % intervals of the cost. Grey: finished. Light: stopped "
        "early."
    )
    _write_front(path, study, _points(front, facts, study), _subtitle(front, study), "validation top1", legend)


def html_final_front(path: Path, front: FinalFront, facts: Mapping[int, TrialFacts], study: StudyRecord) -> None:
    """Write the finalists as one HTML file that needs no network.

    Arguments and errors are those of `plot_final_front`; the name ends in .html.
    """
    legend = (
        "Green: the final front, its knee ringed in red. Grey: the other finalists. Lines: 95 % intervals of top1 and "
        "cost."
    )
    _write_front(
        path, study, _final_points(front, facts, study), _final_subtitle(front, study), _final_top1(front), legend
    )


def _write_front(
    path: Path, study: StudyRecord, points: Iterable[_Point], subtitle: str, top1_axis: str, legend: str
) -> None:
    page: JSON = {
        "title": study.name,
        "subtitle": subtitle,
        "cost": cost_axis(study.cost_objective),
        "costAxis": _cost_label(study),
        "top1Axis": top1_axis,
        "legend": legend,
        "points": [dataclasses.asdict(point) for point in points],
    }
    write_page(path, "front_template.html", study.name, page)


def plot_history(path: Path, history: History, study: StudyRecord) -> None:
    """Draw the hypervolume as a step function, against the trainings and against the device time.

    Args:
        path: where to; .png, .svg or .pdf, an existing file is replaced.
        history: what to draw.
        study: its record.

    Raises:
        InvalidInputError: if the file cannot be written as asked.
    """
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, panel in zip(panels, _history_panels(history), strict=True):
        axes.plot(panel["x"], panel["y"], color=_GREEN, linewidth=1.5, drawstyle="steps-post")
        axes.set_xlabel(panel["label"])
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(True, color="#eceef1")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("hypervolume")
    figure.suptitle(f"{study.name}\n{_history_subtitle(history, study)}", fontsize=11, parse_math=False)
    _save(path, figure)


def html_history(path: Path, history: History, study: StudyRecord) -> None:
    """Write the same picture, and the growths as a table, as one HTML file that needs no network.

    Arguments and errors are those of `plot_history`; the name ends in .html.
    """
    page: JSON = {
        "title": study.name,
        "subtitle": _history_subtitle(history, study),
        "panels": _history_panels(history),
        "growths": [{**dataclasses.asdict(step), "device": duration_text(step.device_s)} for step in history.growths],
    }
    write_page(path, "history_template.html", study.name, page)


def _history_panels(history: History) -> list[JSON]:
    """Corners of the two curves: from nothing, over every growth, to now."""
    volumes = [step.hypervolume for step in history.growths]
    y = [0.0, *volumes, volumes[-1] if volumes else 0.0]
    unit, seconds = next(((u, s) for u, s in (("h", 3600.0), ("min", 60.0)) if history.device_s >= 2 * s), ("s", 1.0))
    device = [step.device_s / seconds for step in history.growths]
    return [
        {
            "label": "architectures evaluated",
            "x": [0, *(step.evaluated for step in history.growths), history.evaluated],
            "y": y,
        },
        {"label": f"device time, {unit}", "x": [0.0, *device, history.device_s / seconds], "y": y},
    ]


def _history_subtitle(history: History, study: StudyRecord) -> str:
    spent = f"{history.evaluated} evaluated in {duration_text(history.device_s)} of device time"
    return f"{study.space} on {study.data}: {spent}, no growth in the last {history.stalled}"


def _points(front: Front, facts: Iterable[TrialFacts], study: StudyRecord) -> list[_Point]:
    """The scored trials, by ascending cost."""
    objective = study.cost_objective
    members = {member.trial_number for member in front.members}
    knee = knee_number(front.members)
    points = []
    for trial in facts:
        cost = trial.cost(objective)
        if trial.top1 is None or cost is None or not trial.is_counted:
            continue
        low, high = (
            (trial.latency.ci_low_ms, trial.latency.ci_high_ms)
            if objective == "latency_ms" and trial.latency
            else (cost, cost)
        )
        cost, low, high = (cost_in_unit(objective, value) for value in (cost, low, high))
        number = trial.trial_number
        group: Literal["front", "finished", "stopped"] = "front" if number in members else "finished"
        if trial.state == "PRUNED":
            group = "stopped"
        top1 = trial.top1
        points.append(_Point(number, top1, cost, low, high, top1, top1, group, number == knee, _describe(trial)))
    return sorted(points, key=lambda point: (point.cost, point.top1))


def _final_points(front: FinalFront, facts: Mapping[int, TrialFacts], study: StudyRecord) -> list[_Point]:
    """One for each finalist, in their order, which is that of the costs."""
    knee = knee_number(front.members)
    points = []
    for f in front.finalists:
        cost, low, high = (cost_in_unit(study.cost_objective, value) for value in (f.cost, f.cost_low, f.cost_high))
        seeds = (
            f"{len(f.seeds)} seeds, standard deviation {f.top1_std:.4f}, on the front with probability "
            f"{f.front_probability:.2f}"
        )
        label = f"{seeds}\n{_describe(facts[f.trial_number])}"
        group: Literal["front", "finished"] = "front" if f.on_front else "finished"
        is_knee = f.trial_number == knee
        points.append(_Point(f.trial_number, f.top1, cost, low, high, f.top1_low, f.top1_high, group, is_knee, label))
    return points


def _final_subtitle(front: FinalFront, study: StudyRecord) -> str:
    return f"{study.space} on {study.data}: final front, {len(front.members)} of {len(front.finalists)} finalists"


def _final_top1(front: FinalFront) -> str:
    return f"{front.split} top1, mean over seeds"


def _describe(trial: TrialFacts) -> str:
    parts = [] if trial.latency is None else [cost_text("latency_ms", trial.latency.median_ms)]
    parts += [
        f"{cost_text('param_count', trial.costs.param_count)} params",
        f"{cost_text('macs', trial.costs.macs)} macs",
    ]
    return f"{', '.join(parts)}\n{trial.layout}"


def _draw_front(axes: Axes, members: Sequence[_Point]) -> None:
    if not members:
        return
    costs = [point.cost for point in members]
    scores = [point.top1 for point in members]
    # Steps, because between two members nothing better than the cheaper one was seen.
    axes.plot(costs, scores, color=_GREEN, linewidth=1.5, drawstyle="steps-post", zorder=3)
    _draw_points(axes, members, _GREEN, "front")
    for point in members:
        if point.knee:
            axes.plot(
                point.cost,
                point.top1,
                "o",
                markersize=13,
                markerfacecolor="none",
                markeredgecolor=_RED,
                zorder=5,
                label="knee",
            )
            note = f"trial {point.trial}: {point.top1:.3f}"
            axes.annotate(note, (point.cost, point.top1), (12, -16), textcoords="offset points", fontsize=9, color=_RED)


def _draw_points(axes: Axes, points: Sequence[_Point], colour: str, name: str) -> None:
    """With their intervals."""
    if not points:
        return
    spans = [[point.cost - point.low for point in points], [point.high - point.cost for point in points]]
    reach = [[point.top1 - point.top1_low for point in points], [point.top1_high - point.top1 for point in points]]
    costs = [point.cost for point in points]
    scores = [point.top1 for point in points]
    label = f"{name} ({len(points)})"
    yerr = reach if np.any(reach) else None
    axes.errorbar(
        costs, scores, yerr, spans, "o", markersize=6, color=colour, elinewidth=1, capsize=2, zorder=4, label=label
    )


def _label(axes: Axes, subtitle: str, top1: str, study: StudyRecord) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    locator: Locator = LogLocator(subs=(1, 2, 5), numticks=20) if high / low > 10 else MaxNLocator(7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(_cost_label(study))
    axes.set_ylabel(top1)
    axes.set_title(f"{study.name}\n{subtitle}", fontsize=11, parse_math=False)
    axes.grid(True, which="major", color="#eceef1")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", frameon=False)


def _subtitle(front: Front, study: StudyRecord) -> str:
    return f"{study.space} on {study.data}: {len(front.members)} points, hypervolume {front.hypervolume:.4f}"


def _cost_label(study: StudyRecord) -> str:
    """Name and unit of the cost, for latency also what it was measured on."""
    axis = cost_axis(study.cost_objective)
    if study.cost_objective != "latency_ms" or study.target is None:
        return axis
    settings = [
        f"{name} {study.target[name]}" for name in ("batch", "threads", "dtype") if study.target.get(name) is not None
    ]
    device = study.target.get("device_name") or study.target.get("kind")
    return f"{axis} ({', '.join([str(device), *settings])})"
