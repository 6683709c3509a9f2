"""The pages in a browser, without network."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nas.analysis.explain import Change, Explanation
from nas.analysis.influence import GeneReport, Influence
from nas.analysis.lineage import Ancestor
from nas.pareto.history import history_of
from nas.reports.explanations import html_explanation
from nas.reports.plots import html_history
from nas.surrogates.latency_model import HeldOut, LatencyReport, PartTime
from nas.surrogates.quality import Quality
from tests.samples import REFERENCE_POINT, TRIALS, study_record

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

ROOT = Ancestor(0, 0.5, 1.0, None)
EXPLANATION = Explanation(
    study="sample",
    cost_objective="latency_ms",
    trials=12,
    left_out={"FAIL": 2},
    learned_from=12,
    quality=(Quality("top1", 12, 0.5, 0.6), Quality("latency_ms", 12, None, None)),
    warnings=("latency_ms is constant",),
    genes=(GeneReport("depth", True, (1, 2), Influence(0.7, 0.8, (-0.01, 0.01)), Influence(0.0, 0.0, (0.0, 0.0))),),
    lineages=((Ancestor(3, 0.6, 0.9, 0, (("depth", 1, 2),), 0.1, -10.0), ROOT),),
    trial_number=3,
    changes=(
        Change("depth", 2, 1, None, ("width 3",), -0.02, 0.01, -5.0),
        Change("kernel", 3, 5, "switched off by another gene"),
    ),
    latency=LatencyReport(
        HeldOut(50, 0.92, None, 1.1), (PartTime("mbconv 3", 7, 0.1, 0.02, 0.8), PartTime("head", 1, 0.05, 0.0, 0.2))
    ),
)


def test_history_marks_the_line_of_a_dot(page: "Page", tmp_path: Path) -> None:
    html_history(tmp_path / "history.html", history_of(TRIALS, "latency_ms", REFERENCE_POINT), study_record())
    page.goto((tmp_path / "history.html").as_uri())
    assert page.locator("circle").count() == 2 * 3
    page.locator("circle").nth(4).hover()
    cells = page.locator("tr.pointed td").all_inner_texts()
    assert (cells[0], cells[1], cells[4]) == ("3", "12 s", "2")


def test_history_without_growth_opens(page: "Page", tmp_path: Path) -> None:
    html_history(tmp_path / "history.html", history_of((), "latency_ms", REFERENCE_POINT), study_record())
    page.goto((tmp_path / "history.html").as_uri())
    assert page.locator("path.steps").count() == 2


def test_explanation_shows_bars_and_tables(page: "Page", tmp_path: Path) -> None:
    html_explanation(tmp_path / "explain.html", EXPLANATION)
    page.goto((tmp_path / "explain.html").as_uri())
    assert page.locator("rect").count() == 2
    assert page.locator("h2").all_inner_texts() == [
        "Which genes matter",
        "What each value does",
        "How the front came about",
        "What the parts of a network take",
        "One gene of trial 3 changed",
    ]
    assert "warning: latency_ms is constant" in page.locator("#head").inner_text()
    rows = page.locator("table").nth(3).locator("tbody tr").all_inner_texts()
    assert rows[0].split("\t") == ["depth", "2", "1", "-2.0 ± 1.0", "-5.0 %", "repair gives width 3"]
    assert "no effect: switched off by another gene" in rows[1]
    parts = page.locator("table").nth(2).locator("tbody tr").all_inner_texts()
    assert [row.split("\t")[0] for row in parts] == ["mbconv 3", "head"]
    assert "92% within 10%" in page.locator("main, body").first.inner_text()
