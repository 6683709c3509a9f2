"""The service as a person sees it: Chromium opens its pages, signs in, watches a study grow, and loses the server.

The pictures in docs/ are written by the same steps:

    SERVICE_SCREENSHOTS=docs/images pytest -m browser tests/integration/test_service_pages.py
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from db.store import open_store
from db.submissions import Job, State
from hybrid_nas.service.callers import LOCAL
from hybrid_nas.service.core import Service
from hybrid_nas.service.settings import Settings
from nas.pareto.front import FrontKeeper
from nas.records import Latency, TrialFacts
from tests.hybrid_nas.service.server import serving
from tests.recorded.record import unpack
from tests.samples import REFERENCE_POINT, study_record, trial
from tests.waiting import eventually

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = [pytest.mark.browser, pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")]

expect = sync_api.expect
RECORDED = "recorded"
MANY = "many"
NUM_MANY = 10_000
NAUGHTY = '<img src=x onerror="document.title=1">?#%2e'
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
VIEWS = {"light": ("light", 1600), "dark": ("dark", 1600), "narrow": ("light", 360)}
SHOWN_LAST = {"studies": "svg.small circle", "study": "#finalists tbody tr", "compare": "#plot a"}
"""Page -> what a script adds to it last."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A database with the recorded study, one of many trials, and one whose name is an attack."""
    folder = tmp_path_factory.mktemp("pages")
    unpack(folder)
    storage = f"sqlite:///{folder}/nas.db"
    with closing(open_store(storage)) as store:
        store.create_study(study_record(name=NAUGHTY))
        store.create_study(study_record(name=MANY))
        for number in range(NUM_MANY):
            store.record(MANY, trial(number, 0.1 + number % 97 / 120, 1 + number % 89), None)
    return Settings(
        storage=storage,
        artifacts=str(folder / "artifacts"),
        folder=folder / "service",
        zoo=folder / "zoo",
        program=("/bin/true",),
        requests_per_s=1_000,
    )


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[Service, int]]:
    with serving(settings) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: "Browser", served: tuple[Service, int]) -> "Iterator[BrowserContext]":
    context = browser.new_context(base_url=f"http://127.0.0.1:{served[1]}")
    yield context
    context.close()


@pytest.fixture
def page(context: "BrowserContext") -> "Iterator[Page]":
    """A page without faults of its script."""
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    assert faults == []


def test_a_study_shows_its_front_and_leads_to_its_trials(page: "Page", served: tuple[Service, int]) -> None:
    members = served[0].front(RECORDED, None, final=False).json["members"]
    page.goto("/")
    page.get_by_role("link", name=RECORDED, exact=True).click()
    dots = page.locator("#plot a")
    dots.first.wait_for()
    assert dots.count() == len(members)
    dots.last.focus()
    assert members[-1]["layout"] in page.locator("#detail").inner_text()
    numbers = page.locator("#trials tbody tr td:first-child")
    numbers.first.wait_for()
    assert [int(text) for text in numbers.all_inner_texts()] == sorted(
        map(int, numbers.all_inner_texts()), reverse=True
    )
    page.get_by_label("Sort by").select_option("top1")
    expect(numbers.first).to_have_text(str(members[-1]["trial_number"]))
    page.locator("#trials tbody a").first.click()
    page.get_by_role("heading", name=f"Trial {members[-1]['trial_number']}").wait_for()
    page.locator("#drawing").evaluate("picture => picture.decode()")  # waits for it; a broken one raises


def test_ten_thousand_trials_come_in_pages(page: "Page") -> None:
    page.goto(f"/studies/{MANY}")
    shown = page.locator("#range")
    expect(shown).to_have_text(f"1 to 50 of {NUM_MANY}")
    page.get_by_role("button", name="Next").click()
    expect(shown).to_have_text(f"51 to 100 of {NUM_MANY}")
    assert page.locator("#trials tbody tr").count() == 50
    page.locator("#filter [name=state]").select_option("FAIL")
    expect(shown).to_have_text("no trial fits")


def test_a_name_is_text_and_nothing_else(page: "Page") -> None:
    page.goto("/")
    page.get_by_role("link", name=NAUGHTY).click()
    page.get_by_role("heading", name=NAUGHTY, exact=True).wait_for()
    assert NAUGHTY in page.title()
    assert page.locator("img[src=x]").count() == 0


def test_what_is_recorded_appears_while_one_looks(page: "Page", settings: Settings) -> None:
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT)
    with closing(open_store(settings.storage)) as store:
        store.create_study(study_record(name="growing"))

        def record(facts: TrialFacts) -> None:
            store.record("growing", facts, keeper.add(facts))

        record(trial(0, 0.5, 1.0))
        page.goto("/studies/growing")
        page.locator("#plot a").first.wait_for()
        record(replace(trial(1, 0.8, 4.0), worker="worker 1"))
        expect(page.locator("#plot a")).to_have_count(2)
        expect(page.locator("#trials tbody tr")).to_have_count(2)
        expect(page.locator("#evaluated")).to_have_text("2 of 10 evaluated")
        expect(page.locator("#best")).to_have_text("0.8000")
        expect(page.locator("#workers tbody tr")).to_have_count(2)


def test_a_lost_server_is_said_and_found_again(browser: "Browser", settings: Settings) -> None:
    with serving(settings) as (_, port):
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/studies/{RECORDED}")
        page.locator("#plot a").first.wait_for()
        assert page.get_by_role("alert").count() == 0
    page.get_by_role("alert").filter(has_text="does not answer").wait_for()
    assert page.locator("#plot a").count() > 0, "what was shown stays"
    with serving(settings, port):
        page.locator("#lost").wait_for(state="hidden")
    page.close()


def test_a_search_is_stopped_extended_and_deleted_by_buttons(page: "Page", served: tuple[Service, int]) -> None:
    service, _ = served
    body = {"space": "conv_only", "budget": 2, "objectives": "top1,macs", "study": "mine", "workers": 1}
    page.request.post("/api/v1/studies", data=body)
    page.goto("/studies/mine")
    page.locator("#state", has_text="finished").wait_for()
    assert page.get_by_role("button", name="Stop").is_disabled()
    page.get_by_label("Budget").fill("1")
    page.get_by_role("button", name="Extend").click()
    page.locator("#answer", has_text="expected more than").wait_for()
    page.get_by_label("Budget").fill("5")
    page.get_by_role("button", name="Extend").click()
    eventually(lambda: service.study("mine")["budget"] == 5 and service.study("mine")["state"] == "finished")
    page.locator("#evaluated", has_text="of 5").wait_for()
    page.get_by_label("its name again").fill("other")
    page.get_by_role("button", name="Delete").click()
    page.locator("#answer", has_text="expected the name").wait_for()
    page.get_by_label("its name again").fill("mine")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("heading", name="Studies").wait_for()
    assert page.get_by_role("link", name="mine", exact=True).count() == 0


def test_exports_are_there_when_a_page_is_loaded_anew(page: "Page", served: tuple[Service, int]) -> None:
    service, _ = served
    number = service.front(RECORDED, None, final=False).json["members"][0]["trial_number"]
    now = datetime.now(UTC)
    ended: list[tuple[State, str | None, str]] = [
        ("finished", "knee", ""),
        ("failed", None, "<b>the name is taken</b>"),
    ]
    for state, entry, message in ended:
        options = {"pick": f"trial:{number}"}
        service.submissions.add_job(Job(state, "export", RECORDED, "ada", options, state, entry, message, now, now))
    rows = page.locator("#exports tbody tr")
    for path in (f"/studies/{RECORDED}/trials/{number}", f"/studies/{RECORDED}"):
        page.goto(path)
        expect(rows).to_have_count(2)
        expect(rows.filter(has_text="failed")).to_contain_text("<b>the name is taken</b>")
    expect(rows.get_by_role("link", name="knee")).to_have_attribute("href", "/zoo/knee")
    page.goto(f"/studies/{MANY}")
    expect(page.locator("#trials tbody tr").first).to_be_visible()
    expect(page.locator("#exports")).to_be_hidden()


def test_fronts_are_compared_in_one_plot(page: "Page") -> None:
    page.goto("/")
    page.get_by_role("checkbox", name=f"Compare {RECORDED}").check()
    page.get_by_role("button", name="Compare the chosen").click()
    page.locator("#plot a").first.wait_for()
    page.goto("/compare")
    page.get_by_text("Choose studies").wait_for()


def test_a_form_that_nobody_listens_to_is_not_sent(page: "Page") -> None:
    page.route("**/static/submit.js", lambda route: route.abort())
    page.goto("/submit")
    expect(page.get_by_role("button", name="Submit")).to_be_disabled()


def test_a_search_is_asked_for_on_a_page(page: "Page", served: tuple[Service, int]) -> None:
    page.goto("/")
    page.get_by_role("link", name="New search").click()
    page.get_by_label("Space").fill("nothing")
    page.get_by_label("Study").fill("asked for here")
    page.get_by_label("Budget").fill("3")
    page.get_by_role("button", name="Submit").click()
    space = page.get_by_label("Space")
    expect(space).to_have_attribute("aria-invalid", "true")
    expect(space).to_be_focused()
    expect(page.locator("#space-error")).to_contain_text("conv_only")
    space.fill("conv_only")
    page.get_by_label("Objectives").select_option("top1,macs")
    page.get_by_text("More options").click()
    page.get_by_label("Latency target").fill("cpu")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#latency_target-error")).to_contain_text("times nothing")
    page.get_by_label("Latency target").fill("")
    page.get_by_label("Recipe json").fill("{")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#recipe_json-error")).to_contain_text("no JSON")
    page.get_by_label("Recipe json").fill("")
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("heading", name="asked for here").wait_for()
    assert served[0].study("asked for here")["options"] == {
        "space": "conv_only",
        "budget": 3,
        "objectives": "top1,macs",
        "study": "asked for here",
    }
    page.get_by_role("link", name="New search like this").click()
    expect(page.get_by_label("Objectives")).to_have_value("top1,macs")
    expect(page.get_by_label("Study")).to_have_value("")


def test_a_study_of_somebody_else_appears_while_one_looks(page: "Page") -> None:
    page.goto("/?search=newcomer")
    page.get_by_text("No study fits").wait_for()
    for name in ("newcomer 1", "newcomer 2"):
        body = {"space": "conv_only", "budget": 2, "objectives": "top1,macs", "study": name, "workers": 1}
        assert page.request.post("/api/v1/studies", data=body).ok
        page.get_by_role("link", name=name, exact=True).wait_for()


def test_a_front_is_shown_on_another_target(page: "Page", settings: Settings, served: tuple[Service, int]) -> None:
    service = served[0]
    members = service.front(RECORDED, None, final=False).json["members"]
    own = service.trial(RECORDED, members[0]["trial_number"])["latencies"][0]["target"]
    elsewhere = {**own, "device_name": "Another CPU"}
    with closing(open_store(settings.storage)) as store:
        store.record_latency(RECORDED, members[0]["trial_number"], Latency(elsewhere, {}, 70.0, 69.0, 71.0, 72.0, 50))
    page.goto(f"/studies/{RECORDED}")
    expect(page.locator("#plot a")).to_have_count(len(members))
    page.get_by_label("Latency measured on").select_option(
        label=next(words for words in service.targets(RECORDED) if "Another" in words)
    )
    expect(page.locator("#plot a")).to_have_count(1)
    page.locator("#plot a").focus()
    expect(page.locator("#detail")).to_contain_text("70 (95 % interval 69 to 71)")
    expect(page.locator("#finalists tbody tr").first).to_contain_text("%")


def test_a_study_that_is_deleted_meanwhile_says_so(page: "Page", served: tuple[Service, int]) -> None:
    service, _ = served
    body = {"space": "conv_only", "budget": 2, "objectives": "top1,macs", "study": "fleeting", "workers": 1}
    page.request.post("/api/v1/studies", data=body)
    eventually(lambda: service.study("fleeting")["state"] == "finished")
    page.goto("/studies/fleeting")
    page.get_by_text("Nothing was printed yet").wait_for()
    service.delete(LOCAL, "fleeting", "fleeting")
    page.get_by_role("alert").filter(has_text="was deleted").wait_for()


def test_a_stream_that_a_proxy_cut_begins_again(page: "Page", settings: Settings) -> None:
    with closing(open_store(settings.storage)) as store:
        store.create_study(study_record(name="cut"))
        store.record("cut", trial(0, 0.5, 1.0), None)
        page.route("**/cut/events*", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
        page.goto("/studies/cut")
        page.get_by_role("alert").filter(has_text="does not answer").wait_for()
        with page.expect_response("**/cut/trials*"):
            page.get_by_label("Sort by").select_option("top1")
        page.wait_for_timeout(300)
        assert page.locator("#lost").is_visible(), "other answers come, and yet nothing new is heard"
        page.unroute("**/cut/events*")
        store.record("cut", trial(1, 0.8, 4.0), None)
        expect(page.locator("#evaluated")).to_have_text("2 of 10 evaluated", timeout=20_000)
        page.locator("#lost").wait_for(state="hidden")


@pytest.mark.parametrize("view", VIEWS)
def test_pages_are_accessible(browser: "Browser", served: tuple[Service, int], view: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed (extra `test`)")
    service, port = served
    number = service.front(RECORDED, None, final=False).json["members"][-1]["trial_number"]
    entry = service.settings.zoo / "none"
    paths = {
        "studies": "/",
        "study": f"/studies/{RECORDED}",
        "trial": f"/studies/{RECORDED}/trials/{number}",
        "compare": f"/compare?study={RECORDED}",
        "submit": "/submit",
        "zoo": "/zoo",
        "login": "/login",
        "missing": f"/zoo/{entry.name}",
    }
    scheme, width = VIEWS[view]
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{port}",
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": 1_200},
    )
    page = context.new_page()
    for name, path in paths.items():
        page.goto(path)
        if name in SHOWN_LAST:
            page.locator(SHOWN_LAST[name]).first.wait_for()
        page.wait_for_timeout(300)
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), name
        found = axe.Axe().run(page).response["violations"]
        assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == [], name
        folder = os.environ.get("SERVICE_SCREENSHOTS")
        if folder is not None and name in ("studies", "study"):
            page.screenshot(path=Path(folder) / f"service-{name}-{view}.png")
    context.close()


def test_the_list_and_a_study_are_walked_by_keyboard(page: "Page") -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "search"


def test_only_who_has_a_token_comes_in(browser: "Browser", settings: Settings, tmp_path: Path) -> None:
    own = replace(settings, storage=f"sqlite:///{tmp_path}/nas.db", folder=tmp_path / "service")
    with serving(own) as (service, port):
        secret = service.tokens.add("ann", "viewer")
        context = browser.new_context(base_url=f"http://127.0.0.1:{port}")
        page = context.new_page()
        page.goto("/zoo")
        page.get_by_role("heading", name="Sign in").wait_for()
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("alert").filter(has_text="not valid").wait_for()
        page.goto("/zoo")
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Zoo").wait_for()
        page.get_by_text("ann, viewer").wait_for()
        [cookie] = context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert secret not in cookie["value"] + page.url + page.content()
        page.goto("/")
        page.get_by_text("There are no studies yet").wait_for()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("heading", name="Sign in").wait_for()
        page.goto("/zoo")
        page.get_by_role("heading", name="Sign in").wait_for()
        context.close()
