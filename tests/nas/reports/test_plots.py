"""Pictures of fronts and of their histories."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from nas.errors import InvalidInputError
from nas.pareto.history import history_of
from nas.records import Front
from nas.reports.plots import html_front, html_history, plot_front, plot_history
from tests.samples import REFERENCE_POINT, TRIALS, latest_front, study_record, trial

if TYPE_CHECKING:
    from playwright.sync_api import Page

GREEN = (27, 127, 92)
HISTORY = history_of(TRIALS, "latency_ms", REFERENCE_POINT)


def test_picture_shows_the_front(tmp_path: Path) -> None:
    plot_front(tmp_path / "front.png", latest_front(), iter(TRIALS), study_record())
    pixels = np.asarray(Image.open(tmp_path / "front.png").convert("RGB"))
    assert pixels.shape[0] >= 600 and pixels.shape[1] >= 1000
    assert (pixels == GREEN).all(axis=-1).sum() > 1000


def test_axes_are_named_with_units_and_target(tmp_path: Path) -> None:
    plot_front(tmp_path / "front.svg", latest_front(), TRIALS, study_record())
    labels = re.findall(r"<!-- (.*?) -->", (tmp_path / "front.svg").read_text())
    assert "latency, ms (Reference CPU, batch 1, threads 1)" in labels
    assert {"validation top1", "front (3)", "finished (1)", "stopped early (1)", "knee", "trial 2: 0.800"} <= set(
        labels
    )


def test_the_name_of_a_study_is_no_formula(tmp_path: Path) -> None:
    plot_front(tmp_path / "front.svg", latest_front(), TRIALS, study_record(name=r"$\frac{1$"))
    assert r"<!-- $\frac{1$" in (tmp_path / "front.svg").read_text()


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_name_in_any_script_can_be_drawn(tmp_path: Path, suffix: str) -> None:
    """No font has all glyphs; a warning, here an error, would help nobody."""
    study = study_record(name="研究 😀 \u0e01")
    plot_front(tmp_path / f"front.{suffix}", latest_front(), TRIALS, study)
    plot_history(tmp_path / f"history.{suffix}", HISTORY, study)
    assert len(list(tmp_path.iterdir())) == 2


def test_other_costs_have_their_own_axis(tmp_path: Path) -> None:
    plot_front(tmp_path / "front.svg", latest_front("macs"), TRIALS, study_record("macs"))
    assert "<!-- macs, M -->" in (tmp_path / "front.svg").read_text()


def test_a_study_without_scores_can_be_drawn(tmp_path: Path) -> None:
    empty = Front(1, datetime.now(UTC), REFERENCE_POINT, 0.0, ())
    plot_front(tmp_path / "front.png", empty, (), study_record())
    html_front(tmp_path / "front.html", empty, (), study_record())
    assert {path.name for path in tmp_path.iterdir()} == {"front.png", "front.html"}


def test_nothing_is_promised_between_members(tmp_path: Path) -> None:
    plot_front(tmp_path / "front.svg", latest_front(), TRIALS, study_record())
    shapes = re.findall(
        r'<path d="([^"]*)"[^>]*stroke: #1b7f5c; stroke-width: 1.5', (tmp_path / "front.svg").read_text()
    )
    corners = [re.findall(r"[-\d.]+ [-\d.]+", shape) for shape in shapes]
    assert [len(shape) for shape in corners] == [5]
    assert all(a.split()[0] == b.split()[0] or a.split()[1] == b.split()[1] for a, b in pairwise(corners[0]))


def test_no_window_system_is_touched() -> None:
    program = "import sys, nas.reports.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("draw", "name"), [(plot_front, "front.bmp"), (plot_front, "front.html"), (html_front, "front.png")]
)
def test_an_unknown_suffix_is_refused(tmp_path: Path, draw: object, name: str) -> None:
    assert callable(draw)
    with pytest.raises(InvalidInputError, match="expected a file name that ends in"):
        draw(tmp_path / name, latest_front(), TRIALS, study_record())
    assert list(tmp_path.iterdir()) == []


def test_html_is_one_file_without_network(tmp_path: Path) -> None:
    html_front(tmp_path / "front.html", latest_front(), TRIALS, study_record(name="</script><b>"))
    page = (tmp_path / "front.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=", page.replace("default-src", "").replace("script-src", ""))
    assert page.count("</script>") == 2 and "<b>" not in page
    assert len(page) < 50_000


@pytest.mark.browser
def test_html_shows_a_layout_on_pointing(page: "Page", tmp_path: Path) -> None:
    html_front(tmp_path / "front.html", latest_front(), TRIALS, study_record())
    page.goto((tmp_path / "front.html").as_uri())
    assert page.locator("circle").count() == 5
    page.locator("circle.knee").hover()
    assert "trial 2 (knee): top1 0.8000, latency, ms 4" in page.locator("#detail").inner_text()
    assert "layout <2>" in page.locator("#detail").inner_text()
    page.locator("tbody tr").nth(2).click()
    assert "layout <3>" in page.locator("#detail").inner_text()


def test_picture_of_a_history_has_two_panels_of_steps(tmp_path: Path) -> None:
    plot_history(tmp_path / "history.svg", HISTORY, study_record())
    drawing = (tmp_path / "history.svg").read_text()
    assert {"architectures evaluated", "device time, s", "hypervolume"} <= set(re.findall(r"<!-- (.*?) -->", drawing))
    curves = re.findall(r'<path d="([^"]*)"[^>]*stroke: #1b7f5c; stroke-width: 1.5', drawing)
    # From nothing over three growths to now: five corners and as many steps between them.
    assert [len(re.findall(r"[-\d.]+ [-\d.]+", curve)) for curve in curves] == [9, 9]


@pytest.mark.parametrize("seconds", [30.0, 300.0, 30_000.0])
def test_page_of_a_history_is_one_file_without_network(tmp_path: Path, seconds: float) -> None:
    history = history_of([trial(0, 0.5, 1.0, duration_s=seconds)], "latency_ms", REFERENCE_POINT)
    html_history(tmp_path / "history.html", history, study_record(name="</script><b>"))
    page = (tmp_path / "history.html").read_text()
    assert "default-src 'none'" in page and not re.search(r"(src|href)=", page)
    assert page.count("</script>") == 2 and "<b>" not in page and not re.search("__[A-Z]+__", page)
    assert f'"device time, {"s" if seconds < 120 else "min" if seconds < 7200 else "h"}"' in page


def test_a_history_without_growth_can_be_drawn(tmp_path: Path) -> None:
    empty = history_of((), "latency_ms", REFERENCE_POINT)
    plot_history(tmp_path / "history.png", empty, study_record())
    html_history(tmp_path / "history.html", empty, study_record())
    assert {path.name for path in tmp_path.iterdir()} == {"history.png", "history.html"}
