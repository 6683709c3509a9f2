"""The dashboard as a person sees it: Chromium opens it on a finished study.

The picture in docs/ is written by the same steps:

    DASHBOARD_SCREENSHOT=docs/images/dashboard.png pytest -m browser tests/integration/test_dashboard_browser.py

and shows a real study when DASHBOARD_URL is the address that a running `launch.py dashboard` printed.
"""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from PIL import Image

from nas.records import Costs, Latency
from nas.search.attributes import constraint_attributes, drawing_attributes, latency_attribute, trial_attributes

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)")

CHROMIUM = Path("/usr/bin/chromium")
NO_NETWORK = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
]
SERVE = """
import sys, pathlib, optuna
from nas.reports.dashboard import serve
serve(optuna.storages.RDBStorage(sys.argv[1]), pathlib.Path(sys.argv[2]), 0, lambda url: print(url, flush=True))
"""
WIDTH = 1400
HEIGHT = 1200
NUM_TRIALS = 20
REJECTED = 7
OVER_LIMIT = 11

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed (Debian package chromium)"),
]


def drawing(depths: np.ndarray) -> str:
    blocks = [
        f'<rect x="{20 + 90 * stage}" y="{100 - 20 * block}" width="70" height="15" '
        f'fill="{"#dd8452" if stage > 1 else "#4c72b0"}"/>'
        for stage, depth in enumerate(depths)
        for block in range(depth)
    ]
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="400" height="140">{"".join(blocks)}</svg>'


def record_trial(study: optuna.Study, number: int, rng: np.random.Generator, folder: Path) -> None:
    """As the search does; REJECTED is over a limit and has no score, OVER_LIMIT has one."""
    depths = rng.integers(1, 5, size=4)
    latency_ms = float(depths.sum() * 0.3 + rng.random())
    interval = Latency(
        target={},
        conditions={},
        median_ms=latency_ms,
        ci_low_ms=0.99 * latency_ms,
        ci_high_ms=1.02 * latency_ms,
        p95_ms=9.0,
        samples=50,
    )
    params = {f"depth{stage}": int(depth) for stage, depth in enumerate(depths)} | {
        "pattern": str(rng.choice(["conv", "attention"]))
    }
    distributions = {
        name: CategoricalDistribution(["conv", "attention"]) if name == "pattern" else IntDistribution(1, 4)
        for name in params
    }
    attributes: dict[str, Any] = trial_attributes(
        layout=" | ".join(f"conv x{depth}" for depth in depths),
        arch_hash=f"{number:064x}",
        costs=Costs(param_count=int(1000 * depths.sum()), macs=int(9000 * depths.sum())),
        reason="latency_ms 5.2 is over the limit 4" if number == REJECTED else None,
    )
    key, text = latency_attribute(interval)
    feasible = number not in (REJECTED, OVER_LIMIT)
    trained = number != REJECTED
    study.add_trial(
        create_trial(
            state=TrialState.COMPLETE if trained else TrialState.PRUNED,
            values=[1 - 1 / (1 + latency_ms) + 0.1 * rng.random(), latency_ms] if trained else None,
            params=params,
            distributions=distributions,
            user_attrs=attributes | {key: text},
            system_attrs=constraint_attributes({"latency_ms": -0.2 if feasible else 0.3})
            | drawing_attributes(drawing(depths), folder),
        )
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a dashboard, ending in a slash."""
    if "DASHBOARD_URL" in os.environ:
        yield os.environ["DASHBOARD_URL"].rstrip("/") + "/"
        return
    folder = tmp_path_factory.mktemp("dashboard")
    url = f"sqlite:///{folder}/nas.db"
    study = optuna.create_study(
        storage=url, study_name="hybrid_layout-nano-digits", directions=["maximize", "minimize"]
    )
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["top1", "latency_ms"])
    rng = np.random.default_rng(0)
    for number in range(NUM_TRIALS):
        record_trial(study, number, rng, folder)
    command = [sys.executable, "-c", SERVE, url, str(folder)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=NO_NETWORK)
        yield browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        browser.close()


@pytest.fixture(scope="module")
def study(page: Any, address: str) -> dict[str, Any]:
    """What the dashboard's own interface says about its first study."""
    study_id = page.request.get(f"{address}api/studies").json()["study_summaries"][0]["study_id"]
    answer: dict[str, Any] = page.request.get(f"{address}api/studies/{study_id}").json()
    return answer | {"page": f"{address}dashboard/studies/{study_id}"}


def picture(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    return tmp_path_factory.getbasetemp() / f"{name}.png"


def test_the_pareto_front_is_drawn_with_named_axes(
    page: Any, study: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    page.goto(study["page"])
    plot = page.locator("#graph-pareto-front")
    plot.locator(".scatterlayer .point").first.wait_for()
    axes = page.get_by_text("Pareto Front", exact=True).locator("..").get_by_role("combobox")
    assert axes.all_inner_texts() == study["objective_names"]
    points = dict(
        plot.evaluate(
            "plot => plot.data.map(trace => [trace.hovertemplate.match(/<extra>(.*)<.extra>/)[1], trace.x.length])"
        )
    )
    assert points["Best Trial"] >= 2
    assert sum(points.values()) >= sum(trial["state"] == "Complete" for trial in study["trials"])
    page.screenshot(path=picture(tmp_path_factory, "front"), clip={"x": 0, "y": 0, "width": WIDTH, "height": 640})


def test_a_trial_shows_attributes_and_drawing(
    page: Any, study: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    trial = study["best_trials"][len(study["best_trials"]) // 2]
    page.goto(f"{study['page']}/trials?numbers={trial['number']}")
    shown = page.get_by_text("User Attributes").locator("..").inner_text()
    for key in ("layout", "arch_hash", "param_count", "macs", "latency"):
        assert f"{key} " in shown
    drawn = page.get_by_alt_text("layout.svg").element_handle()
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=drawn)
    page.screenshot(path=picture(tmp_path_factory, "trial"))


@pytest.mark.skipif("DASHBOARD_URL" in os.environ, reason="knows the trials of its own study only")
def test_infeasible_trials_are_marked(page: Any, study: dict[str, Any]) -> None:
    page.goto(f"{study['page']}/trials?numbers={REJECTED}")
    page.get_by_text("latency_ms 5.2 is over the limit 4").wait_for()
    assert [trial["number"] for trial in study["trials"] if max(trial["constraints"]) > 0] == [REJECTED, OVER_LIMIT]
    page.goto(study["page"])
    plot = page.locator("#graph-pareto-front")
    plot.locator(".scatterlayer .point").first.wait_for()
    infeasible = plot.evaluate(
        "plot => plot.data.filter(trace => trace.hovertemplate.includes('Infeasible')).flatMap(trace => trace.y)"
    )
    assert infeasible == [study["trials"][OVER_LIMIT]["values"][1]]


@pytest.mark.skipif("DASHBOARD_SCREENSHOT" not in os.environ, reason="no picture asked for with DASHBOARD_SCREENSHOT")
def test_the_picture_is_written(tmp_path_factory: pytest.TempPathFactory) -> None:
    parts = [Image.open(picture(tmp_path_factory, name)).convert("RGB") for name in ("front", "trial")]
    whole = Image.new("RGB", (WIDTH, sum(part.height for part in parts)), "white")
    for part, top in zip(parts, (0, parts[0].height), strict=True):
        whole.paste(part, (0, top))
    whole.quantize(128).save(os.environ["DASHBOARD_SCREENSHOT"], optimize=True)
