"""Script in every text that pages show: Chromium runs none of it, and would not if it stood there unescaped."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from db.store import open_store
from hybrid_nas import parts
from hybrid_nas.service.callers import LOCAL
from hybrid_nas.service.options import SearchOptions
from hybrid_nas.service.settings import Settings
from nas.pareto.front import FrontKeeper
from tests.hybrid_nas.service.server import serving
from tests.recorded.record import unpack
from tests.samples import REFERENCE_POINT, study_record, trial
from tests.waiting import eventually

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)")

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")]

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
NAME = "\"'><img src=x onerror=window.hit=1>{{7*7}}<svg onload=window.hit=1>javascript:window.hit=1"
"""As nasty as a name can be, which has no slash."""
SCRIPT = f"{NAME}</pre></script><script>window.hit=1</script><iframe srcdoc='<script>parent.hit=1</script>'></iframe>"
INJECTED = """() => {
  document.body.insertAdjacentHTML("beforeend", "<img src=/none onerror='window.hit=1'>");
  document.body.insertAdjacentHTML("beforeend", "<a href='javascript:window.hit=1'>x</a>");
  for (const [name, value] of [["text", "window.hit=1"], ["src", "data:text/javascript,window.hit=1"]]) {
    const script = document.createElement("script");
    script[name] = value;
    document.body.append(script);
  }
  document.querySelector("a[href^=javascript]").click();
}"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Script as name, reason, worker, device, layout, card, note and attribute, and in what a search prints."""
    from optuna import load_study
    from optuna_dashboard import save_note

    folder = tmp_path_factory.mktemp("scripts")
    unpack(folder)
    storage = f"sqlite:///{folder}/nas.db"
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT)
    with closing(open_store(storage)) as store:
        store.create_study(study_record(name=NAME))
        for facts in (trial(0, 0.5, 2.0), trial(1, 0.0, 9.0, "FAIL", SCRIPT)):
            nasty = replace(facts, layout=SCRIPT, device=SCRIPT[:60], worker=SCRIPT[:60])
            store.record(NAME, nasty, keeper.add(nasty))
    with parts.optuna_storage(storage, writes=True) as opened:
        study = load_study(study_name="recorded", storage=opened)
        study.set_user_attr(SCRIPT, SCRIPT)
        save_note(study, SCRIPT)
    (folder / "zoo" / "knee" / "README.md").write_text(SCRIPT, encoding="utf-8")
    return Settings(
        storage=storage,
        artifacts=str(folder / "artifacts"),
        folder=folder / "service",
        zoo=folder / "zoo",
        program=("/bin/echo", SCRIPT),
        requests_per_s=1_000,
    )


@pytest.fixture(scope="module")
def page(settings: Settings) -> "Iterator[Page]":
    with serving(settings) as (service, port):
        options = SearchOptions(space="conv_only", budget=1, objectives="top1,macs", study=f"printed {NAME}", workers=1)
        service.submit(LOCAL, options)
        eventually(lambda: service.study(f"printed {NAME}")["state"] == "finished")
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
            page = browser.new_page(base_url=f"http://127.0.0.1:{port}")
            yield page
            browser.close()


def open_everything(page: "Page") -> None:
    """Point at dots, and open what is folded."""
    for dot in page.locator("svg#plot a").all():
        dot.hover()
    for folded in page.locator("summary").all():
        folded.click()
    page.wait_for_timeout(500)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/", NAME),
        ("/studies/{name}", NAME),
        ("/studies/{name}/trials/0", SCRIPT),
        ("/studies/{name}/trials/1", SCRIPT),
        ("/studies/printed%20{name}", SCRIPT),
        ("/compare?study={name}&study={name}", NAME),
        ("/zoo", "knee"),
        ("/zoo/knee", SCRIPT),
        ("/studies/no%20{name}", NAME[2:20]),
        ("/?search={script}&owner={script}", ""),
        ("/login?to={script}", "Sign in"),
        ("/dashboard/studies/1", ""),
        ("/dashboard/studies/1/note", ""),
        ("/dashboard/studies/1/trials", ""),
    ],
)
def test_nothing_of_it_runs(page: "Page", path: str, shown: str) -> None:
    from urllib.parse import quote

    page.goto(path.format(name=quote(NAME, safe=""), script=quote(SCRIPT[:350], safe="")))
    open_everything(page)
    assert page.evaluate("window.hit") is None
    assert shown in (page.locator("body").text_content() or "")


@pytest.mark.parametrize("path", ["/", "/zoo/knee", "/dashboard/"])
def test_nothing_would_run_that_came_into_a_page(page: "Page", path: str) -> None:
    answer = page.goto(path)
    assert answer is not None and "default-src 'self'" in answer.headers["content-security-policy"]
    page.evaluate(INJECTED)
    page.wait_for_timeout(500)
    assert page.evaluate("window.hit") is None
