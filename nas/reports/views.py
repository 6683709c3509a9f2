"""What `pareto` shows, in every form: a front, a final front or a history. Pictures import matplotlib when they are
drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.pareto.history import History
from nas.pareto.places import Place
from nas.records import FinalFront, Front, StudyRecord, TrialFacts, facts_by_number
from nas.reports.final_fronts import final_front_csv, final_front_json, final_front_text
from nas.reports.fronts import front_csv, front_json, front_text
from nas.reports.histories import history_csv, history_json, history_text
from nas.reports.retimings import places_text


@dataclass(frozen=True, slots=True)
class View:
    """Texts are made, and files written, when they are asked for; errors are those of nas.files.write_file."""

    text: Callable[[], str]
    json: Callable[[], str]
    csv: Callable[[], str]
    plot: Callable[[Path], None]
    html: Callable[[Path], None]


def front_view(front: Front, facts: Sequence[TrialFacts], study: StudyRecord, again: Sequence[Place] = ()) -> View:
    """Second timings stand beside the first where there are some."""

    def plot(path: Path) -> None:
        from nas.reports.plots import plot_front

        plot_front(path, front, facts, study)

    def html(path: Path) -> None:
        from nas.reports.plots import html_front

        html_front(path, front, facts, study)

    return View(
        lambda: "\n".join([front_text(front, facts, study, again), *places_text(front, again)]),
        lambda: front_json(front, facts, study, again),
        lambda: front_csv(front, facts, again),
        plot,
        html,
    )


def final_view(front: FinalFront, facts: Sequence[TrialFacts], study: StudyRecord) -> View:
    trials = facts_by_number(facts)

    def plot(path: Path) -> None:
        from nas.reports.plots import plot_final_front

        plot_final_front(path, front, trials, study)

    def html(path: Path) -> None:
        from nas.reports.plots import html_final_front

        html_final_front(path, front, trials, study)

    return View(
        lambda: final_front_text(front, trials, study),
        lambda: final_front_json(front, trials, study),
        lambda: final_front_csv(front, trials),
        plot,
        html,
    )


def history_view(history: History, study: StudyRecord) -> View:
    def plot(path: Path) -> None:
        from nas.reports.plots import plot_history

        plot_history(path, history, study)

    def html(path: Path) -> None:
        from nas.reports.plots import html_history

        html_history(path, history, study)

    return View(
        lambda: history_text(history, study),
        lambda: history_json(history, study),
        lambda: history_csv(history),
        plot,
        html,
    )
