"""The service over HTTP: a real server on loopback over the recorded study; nothing is trained."""

import hmac
import http.client
import io
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from db.store import open_store
from db.tokens import Role
from hybrid_nas.service import core, events
from hybrid_nas.service.callers import LOCAL
from hybrid_nas.service.core import Service
from hybrid_nas.service.options import SearchOptions, words
from hybrid_nas.service.settings import Settings
from search_spaces.architecture.used import used_mixers
from tests.hybrid_nas.service.server import Client, serving
from tests.recorded.record import unpack
from tests.samples import study_record
from tests.waiting import eventually

SEARCH = {"space": "conv_only", "budget": 2, "objectives": "top1,macs", "study": "new", "workers": 1}
STUDY = "recorded"
PATH = f"/studies/{STUDY}"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A database with the recorded study, and a program that ends at once."""
    folder = tmp_path_factory.mktemp("service")
    unpack(folder)
    (folder / "data").mkdir()
    (folder / "elsewhere").mkdir()
    (folder / "data" / "link").symlink_to(folder / "elsewhere")
    return Settings(
        storage=f"sqlite:///{folder}/nas.db",
        artifacts=str(folder / "artifacts"),
        folder=folder / "service",
        zoo=folder / "own-zoo",
        data_folders=(folder / "data",),
        program=("/bin/true",),
        requests_per_s=1_000,
    )


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[tuple[Service, int]]:
    with serving(settings) as served:
        yield served


@pytest.fixture(scope="module")
def open_port(served: tuple[Service, int]) -> int:
    """Before the first token: asked for before `tokens`."""
    service, port = served
    assert not service.tokens.any()
    assert Client(port).get("/me").json == {"name": "local", "role": "admin"}
    for host in ("evil.example", "127.0.0.1.evil.example"):
        assert Client(port).get("/me", host=host).status == 403
    assert Client(port).post(f"{PATH}/stop", origin="http://evil.example").status == 403
    return port


@pytest.fixture(scope="module")
def tokens(served: tuple[Service, int], open_port: int) -> dict[str, str]:
    roles: dict[str, Role] = {"ada": "user", "bob": "user", "cy": "viewer", "root": "admin"}
    return {name: served[0].tokens.add(name, role) for name, role in roles.items()}


@pytest.fixture
def service(served: tuple[Service, int]) -> Service:
    return served[0]


@pytest.fixture
def ada(served: tuple[Service, int], tokens: dict[str, str]) -> Client:
    return Client(served[1], tokens["ada"])


@pytest.fixture
def bob(served: tuple[Service, int], tokens: dict[str, str]) -> Client:
    return Client(served[1], tokens["bob"])


@pytest.fixture
def viewer(served: tuple[Service, int], tokens: dict[str, str]) -> Client:
    return Client(served[1], tokens["cy"])


@pytest.fixture
def root(served: tuple[Service, int], tokens: dict[str, str]) -> Client:
    return Client(served[1], tokens["root"])


def test_a_recorded_study_in_every_form(viewer: Client) -> None:
    study = viewer.get(PATH).json
    assert (study["owner"], study["state"], study["recorded"]) == (None, "stopped", True)
    assert [each["name"] for each in viewer.get("/studies").json["items"]].count(STUDY) == 1
    front = viewer.get(f"{PATH}/front").json
    assert len(front["members"]) == study["front_size"]
    assert viewer.get(f"{PATH}/history").json
    numbers = [member["trial_number"] for member in front["members"]]
    trial = viewer.get(f"{PATH}/trials/{numbers[0]}").json
    assert trial["spec"]
    assert trial["rungs"][-1]["top1"] == trial["top1"] == front["members"][0]["top1"]
    drawing = viewer.get(f"{PATH}/trials/{numbers[0]}/drawing")
    assert drawing.headers["content-type"] == "image/svg+xml"
    assert drawing.body.startswith(b"<svg")


def numbers(trials: list[dict[str, Any]]) -> list[int]:
    return [trial["number"] for trial in trials]


def test_pages_of_trials_hold_each_once_in_order(viewer: Client) -> None:
    whole = viewer.get(f"{PATH}/trials?limit=500").json
    pages = []
    for offset in range(0, whole["total"], 2):
        pages += viewer.get(f"{PATH}/trials?limit=2&offset={offset}").json["items"]
    assert pages == whole["items"]
    assert len(pages) == whole["total"] == sum(viewer.get(PATH).json["trials"].values())
    falling = viewer.get(f"{PATH}/trials?sort=top1&order=desc&state=COMPLETE").json["items"]
    scores = [trial["top1"] for trial in falling]
    assert scores == sorted(scores, reverse=True)
    for mixer in ("mbconv", "dwconv", "key_only", "full"):
        found = viewer.get(f"{PATH}/trials?limit=500&mixer={mixer}").json["items"]
        using = [
            n for n in numbers(whole["items"]) if mixer in used_mixers(viewer.get(f"{PATH}/trials/{n}").json["spec"])
        ]
        assert numbers(found) == using, mixer
    mixers = viewer.get(f"{PATH}/trials?mixer=%25").json
    assert mixers["total"] == 0, "a filter is text, and no pattern"


def read_events(client: Client, token: str, after: str = "") -> list[dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    headers = {"authorization": f"Bearer {token}", "last-event-id": after}
    connection.request("GET", f"/api/v1{PATH}/events", headers=headers)
    response = connection.getresponse()
    assert response.headers["content-type"].startswith("text/event-stream")
    events: list[dict[str, str]] = []
    current: dict[str, str] = {}
    while not any(event["event"] == "front" for event in events):
        line = response.readline().decode().rstrip("\n")
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            current[name] = value
        elif current:
            events.append(current)
            current = {}
    response.close()
    connection.close()
    return events


def test_events_go_on_behind_any_of_them(viewer: Client, tokens: dict[str, str]) -> None:
    events = read_events(viewer, tokens["cy"])
    assert events[0]["event"] == "state"
    told = [json.loads(event["data"])["number"] for event in events if event["event"] == "trial"]
    trials = viewer.get(f"{PATH}/trials?limit=500").json
    assert sorted(told) == [trial["number"] for trial in trials["items"]]
    middle = len(events) // 2
    assert read_events(viewer, tokens["cy"], events[middle]["id"]) == events[middle + 1 :]
    assert viewer.get(f"{PATH}/events?after=x").status == 422


def test_who_may_what(ada: Client, bob: Client, viewer: Client, root: Client, service: Service) -> None:
    assert viewer.post("/studies", SEARCH).status == 403
    made = ada.post("/studies", SEARCH)
    assert made.status == 201, made.body
    assert made.headers["location"] == "/api/v1/studies/new"
    assert made.json["owner"] == "ada"
    assert bob.post("/studies", SEARCH).status == 409
    for path, body in (("/stop", None), ("/continue", None), ("/extend", {"budget": 9}), ("/exports", {})):
        assert bob.post(f"/studies/new{path}", body).status == 403, path
        assert viewer.post(f"/studies/new{path}", body).status == 403, path
    assert bob.ask("DELETE", "/studies/new?confirm=new").status == 403
    eventually(lambda: ada.get("/studies/new").json["state"] == "finished")
    assert ada.post("/studies/new/stop").status == 409
    assert ada.post("/studies/new/extend", {"budget": 2}).error["field"] == "budget"
    assert root.post("/studies/new/extend", {"budget": 3}).json["budget"] == 3
    eventually(lambda: ada.get("/studies/new").json["state"] == "finished")
    assert ada.ask("DELETE", "/studies/new?confirm=old").status == 409
    assert ada.ask("DELETE", "/studies/new?confirm=new").status == 204
    assert ada.get("/studies/new").status == 404
    assert bob.post("/studies", {**SEARCH, "study": STUDY}).status == 409, "a recorded study has no owner but root"


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"budget": 0}, 422, "budget"),
        ({"budget": 10**30}, 422, "budget"),
        ({"budget": True}, 422, "budget"),
        ({"study": "a/b"}, 422, "study"),
        ({"study": ".."}, 422, "study"),
        ({"study": "a\0b"}, 422, "study"),
        ({"sampler": "none"}, 422, "sampler"),
        ({"mixers": "nothing"}, 422, "mixers"),
        ({"storage": "sqlite:///x"}, 422, "storage"),
        ({"ray_address": "10.0.0.1:6379"}, 422, "ray_address"),
        ({"artifacts": "/tmp"}, 422, "artifacts"),
        ({"gpus_per_worker": 1.0, "workers": 999}, 422, None),
        ({"data": "folder:/etc"}, 403, "data"),
        ({"data": "folder:{data}/../elsewhere"}, 403, "data"),
        ({"data": "folder:{data}/link"}, 403, "data"),
        ({"recipe": "/etc/passwd"}, 403, "recipe"),
        ({"recipe": "../x.json"}, 403, "recipe"),
        ({"recipe_json": {"rungs": "many"}}, 422, "recipe_json"),
        ({"recipe_json": {"rungs": [8, 16], "batch_size": 64, "learning_rate": 0.01}}, 422, "recipe_json"),
        ({"recipe_json": {"rungs": float("nan")}}, 422, "recipe_json"),
        ({"recipe_json": json.loads('{"a":' * 300 + "1" + "}" * 300)}, 422, "recipe_json"),
        ({"max_hours": float("nan")}, 422, "max_hours"),
        ({"max_hours": float("inf")}, 422, "max_hours"),
        ({"space": "/tmp/space.py"}, 403, "space"),
        ({"space": "os.path"}, 403, "space"),
        ({"space": "nothing"}, 403, "space"),
        ({"scores": "/etc/passwd"}, 403, "scores"),
        ({"scores": "zico,{data}/../nas.db"}, 403, "scores"),
    ],
)
def test_what_is_refused(
    ada: Client, settings: Settings, change: dict[str, object], status: int, field: str | None
) -> None:
    body = {**SEARCH, "study": "refused", **change}
    text = json.dumps(body).replace("{data}", str(settings.data_folders[0])).encode()
    answer = ada.post("/studies", text, **{"content-type": "application/json"})
    assert answer.status == status, answer.body
    assert answer.error["message"]
    assert str(settings.folder) not in answer.error["message"]
    if field is not None:
        assert answer.error["field"] == field
    assert ada.get("/studies/refused").status == 404


KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "array": "a list",
    "object": "an object",
}


@pytest.mark.parametrize("option", sorted(SearchOptions.model_fields))
def test_a_wrong_type_of_any_option_is_explained(ada: Client, option: str) -> None:
    described = SearchOptions.model_json_schema()["properties"][option]
    kinds = {each["type"] for each in described.get("anyOf", [described])} - {"null"}
    for wrong in (True, ["x", 3]):
        answer = ada.post("/studies", {**SEARCH, "study": "refused", option: wrong})
        assert answer.status == 422, answer.body
        assert answer.error["field"] == option
        if kinds != {"array"} or wrong is True:
            assert f"expected {KINDS[kinds.copy().pop()]}" in answer.error["remedy"]


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"budgets": 3}, "budgets", "unknown here; leave it out"),
        ({"objectives": "top1"}, "objectives", "expected top1 and one cost"),
        ({"latency_target": ["cpu"]}, "latency_target", "times nothing"),
        ({"latency_target": ["cpu:threads=0"], "objectives": "top1,latency_ms"}, "latency_target", "expected threads"),
        ({"scale": "huge"}, "scale", "expected one of"),
        ({"keep": 2.0}, "keep", "between 0 and 1"),
        ({"rungs": 0}, "rungs", "at least 1"),
        ({"seed": -1}, "seed", "from 0 to"),
        ({"max_latency_ms": 0.0}, "max_latency_ms", "positive"),
        ({"max_params": 1}, "max_params", "give more"),
        ({"max_hours": -1.0}, "max_hours", "positive"),
        ({"patience": 0}, "patience", "at least 1"),
        ({"trial_timeout_s": 0}, "trial_timeout_s", "positive"),
        ({"gpus_per_worker": -1}, "gpus_per_worker", "0 or more"),
        ({"warm_start": "sun"}, "warm_start", "study:NAME"),
        ({"warm_start": "study:new", "study": "new"}, "warm_start", "expected an earlier one"),
        ({"recipe": "nano", "recipe_json": {}}, "recipe", "give one of them"),
        ({"notify": "https://example.org"}, "notify", "expected one of"),
        ({"mixers": "core"}, "mixers", "conv_only"),
        ({"warm_start": "study:nobody"}, "warm_start", "which is not here"),
        ({"data": "digits:"}, "data", "takes no path"),
        ({"scores": "zicoo"}, "scores", "expected some of synflow"),
        ({"scores": "mine.json"}, "scores", "A file is not taken"),
        ({"scores": "zico", "sampler": "tpe"}, "scores", "give ehvi"),
    ],
)
def test_what_contradicts_itself_is_explained(ada: Client, change: dict[str, object], field: str, said: str) -> None:
    answer = ada.post("/studies", {**SEARCH, "study": "refused", **change})
    assert answer.status in (403, 422), answer.body
    assert answer.error["field"] == field, answer.error
    assert said in answer.error["message"], answer.error
    assert answer.error["remedy"], answer.error


def test_a_recipe_may_come_along(ada: Client) -> None:
    body = {**SEARCH, "study": "own-recipe", "recipe_json": {"rungs": [8], "batch_size": 64, "learning_rate": 0.01}}
    assert ada.post("/studies", body).status == 201


def test_training_free_scores_are_named(ada: Client, settings: Settings) -> None:
    answer = ada.post("/studies", {**SEARCH, "study": "scored", "scores": "zico, az_nas"})
    assert answer.status == 201, answer.body
    assert "--scores=zico, az_nas" in words(answer.json["options"], settings)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path",
    ["/studies/..%2f..%2fetc%2fpasswd", "/zoo/..%2f..%2fetc", "/zoo/../../etc/passwd", "/jobs/..%2fx", "/zoo/%00"],
)
def test_names_are_no_paths(root: Client, method: str, path: str) -> None:
    answer = root.ask(method, path)
    assert answer.status in (400, 404, 405, 422)
    assert b"root:" not in answer.body


def test_bodies_have_a_limit_and_a_form(ada: Client) -> None:
    assert ada.post("/studies", b"x" * (2**20 + 1)).status == 413
    for body in (b"", b"{", b"[]", b"\xff", b"null", b'{"space": NaN}', b'{"space": "\\ud800", "budget": 1}'):
        answer = ada.post("/studies", body, **{"content-type": "application/json"})
        assert answer.status in (400, 422), body
        assert answer.error["message"]


def test_what_cannot_be_written_is_refused(ada: Client) -> None:
    half = ada.post("/studies", b'{"\\ud800": 1}', **{"content-type": "application/json"})
    assert (half.status, bool(half.error["message"])) == (422, True)
    assert ada.post("/studies", {**SEARCH, "notify": "http://[x"}).status == 403
    for path in ("/studies/a%00b", f"{PATH}/trials?mixer=%00", "/jobs/%00", "//studies/%00", "//?search=%00"):
        assert ada.get(path).status == 400, path
    for number in ("9223372036854775808", "-1", "1e3"):
        assert ada.get(f"{PATH}/trials/{number}").status == 422, number
        assert ada.get(f"{PATH}/trials?offset={number}").status == 422, number
    for place in ("9" * 19 + "-0-0-0", "0-0-0-٣", "0-0-0--1", "0-0-0"):
        assert ada.get(f"{PATH}/events?after={quote(place)}").status == 422, place


def test_tokens_are_needed_revoked_and_never_shown(
    served: tuple[Service, int], tokens: dict[str, str], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    service, port = served
    secret = service.tokens.add("gone", "user")
    assert Client(port, secret).get("/me").json["name"] == "gone"
    service.tokens.revoke("gone")
    answers = [Client(port, secret).get("/me"), Client(port).get("/me"), Client(port, "nas_wrong").get("/studies")]
    for answer in answers:
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert secret.encode() not in answer.body
    database = Path(settings.storage.removeprefix("sqlite:///"))
    kept = b"".join(file.read_bytes() for file in database.parent.glob("nas.db*"))
    assert secret.encode() not in kept
    assert tokens["root"].encode() not in kept
    assert secret not in caplog.text
    assert Client(port).get("/health").json["status"] == "ok"


def test_a_session_stands_for_a_token_and_forms_are_its_own(
    served: tuple[Service, int], tokens: dict[str, str]
) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    stranger = Client(served[1])
    assert stranger.ask("POST", "//session", b"token=nas_wrong", form).status in (401, 429)
    begun = stranger.ask("POST", "//session", f"token={tokens['ada']}".encode(), form)
    assert begun.status == 303
    cookie, *attributes = begun.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(attributes)
    assert tokens["ada"] not in cookie
    assert stranger.get("/me", cookie=cookie).json == {"name": "ada", "role": "user"}
    assert stranger.post(f"{PATH}/exports", {}, cookie=cookie).status == 403, "no text of the session"
    own = hmac.new(cookie.partition("=")[2].encode(), b"csrf", "sha256").hexdigest()
    refused = stranger.post("/studies/nothing/stop", cookie=cookie, **{"x-csrf-token": own})
    assert refused.status == 404, "the text was right"
    assert stranger.get("/me", cookie=f"{cookie[:-1]}x").status in (401, 429)
    assert stranger.ask("POST", "//session/end", b"csrf_token=x", {**form, "cookie": cookie}).status == 403
    assert stranger.ask("POST", "//session/end", f"csrf_token={own}".encode(), {**form, "cookie": cookie}).status == 303
    assert stranger.get("/me", cookie=cookie).status in (401, 429), "replayed"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"sec-fetch-site": "same-origin"}, 303),
        ({"sec-fetch-site": "none"}, 303),
        ({"sec-fetch-site": "same-origin", "origin": "https://behind.example"}, 303),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "{own}"}, 303),
        ({"origin": "{own}.evil.example"}, 403),
    ],
)
def test_a_page_of_another_site_neither_begins_nor_uses_a_session(
    served: tuple[Service, int], tokens: dict[str, str], headers: dict[str, str], status: int
) -> None:
    service, port = served
    given = {name: text.replace("{own}", f"http://127.0.0.1:{port}") for name, text in headers.items()}
    form = {"content-type": "application/x-www-form-urlencoded", **given}
    assert Client(port).ask("POST", "//session", f"token={tokens['bob']}".encode(), form).status == status
    session = service.tokens.begin_session(service.tokens.find(tokens["bob"]))  # type: ignore[arg-type]
    own = hmac.new(session.encode(), b"csrf", "sha256").hexdigest()
    used = {"cookie": f"nas_session={session}", "x-csrf-token": own, **given}
    assert Client(port).post("/studies/nothing/stop", **used).status == (404 if status == 303 else 403)
    other = {**used, "x-csrf-token": hmac.new(b"another session", b"csrf", "sha256").hexdigest()}
    assert Client(port).post("/studies/nothing/stop", **other).status == 403


def test_a_stream_ends_with_its_token(
    served: tuple[Service, int], tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "BEAT_S", 0.2)
    service, port = served
    secret = service.tokens.add("leaving", "viewer")
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", f"/api/v1{PATH}/events", headers={"authorization": f"Bearer {secret}"})
        response = connection.getresponse()
        response.readline()
        service.tokens.revoke("leaving")
        response.read()  # to its end; one that goes on ends in a TimeoutError
        assert response.isclosed()


def test_only_a_known_proxy_says_where_a_request_comes_from(settings: Settings, tmp_path: Path) -> None:
    own = replace(settings, storage=f"sqlite:///{tmp_path}/nas.db", folder=tmp_path / "service")
    form = {"content-type": "application/x-www-form-urlencoded", "x-forwarded-proto": "https"}
    for proxies in ((), ("127.0.0.1",)):
        with serving(replace(own, proxies=proxies)) as (service, port):
            if not service.tokens.any():
                assert Client(port).get("/me", **{"x-forwarded-for": "198.51.100.1"}).status == 403, (
                    "not of this machine"
                )
            secret = service.tokens.add(f"by {len(proxies)}", "admin")
            begun = Client(port).ask("POST", "//session", f"token={secret}".encode(), form)
            assert ("Secure" in begun.headers["set-cookie"].split("; ")) is bool(proxies)
            said = [{"x-forwarded-for": f"203.0.113.9, 198.51.100.{number}"} for number in range(20)]
            statuses = {Client(port, "nas_wrong").get("/me", **headers).status for headers in said}
            assert statuses == ({401} if proxies else {401, 429}), (
                "an address that anybody can claim counts for nothing"
            )
            forged = [{"x-forwarded-for": f"203.0.113.{number}, 198.51.100.99"} for number in range(20)]
            assert {Client(port, "nas_wrong").get("/me", **headers).status for headers in forged} >= {429}


def test_the_zoo_lists_shows_and_zips(viewer: Client, root: Client, settings: Settings) -> None:
    assert viewer.get("/zoo").json["items"] == []
    from hybrid_nas import api

    api.open_study(STUDY, storage=settings.storage, artifacts=settings.artifacts).export(zoo=settings.zoo, name="one")
    [entry] = viewer.get("/zoo").json["items"]
    assert entry["name"] == "one"
    assert "one" in viewer.get("/zoo/one").json["card"]
    with zipfile.ZipFile(io.BytesIO(viewer.get("/zoo/one/download").body)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    files = [path for path in (settings.zoo / "one").rglob("*") if path.is_file()]
    assert sorted(names) == sorted(f"one/{path.relative_to(settings.zoo / 'one')}" for path in files)
    assert viewer.get("/zoo/two").status == 404
    for pick in ("..", "trial:", "trial:x", "latency:1;", "--zoo=/tmp", "knee\n"):
        assert root.post(f"{PATH}/exports", {"pick": pick}).status == 422, pick


def test_the_document_names_every_route_and_has_examples(root: Client) -> None:
    document = root.get("/openapi.json").json
    assert len(document["paths"]) >= 20
    options = document["components"]["schemas"]["SearchOptions"]
    assert options["examples"]
    assert options["properties"]["budget"]["description"]
    assert root.get("//nowhere").status == 404
    for path, methods in (("/studies", "GET, POST"), (PATH, "DELETE, GET"), ("/zoo", "GET")):
        refused = root.ask("PUT", path)
        assert (refused.status, ", ".join(sorted(refused.headers["allow"].split(", ")))) == (405, methods)
    assert root.ask("PUT", "//zoo").headers["allow"] == "GET"


def test_the_dashboard_is_behind_the_door_and_only_shows(viewer: Client, root: Client, open_port: int) -> None:
    for path in ("//dashboard/", "//api/studies", "//static/bundle.js", "//csv/1"):
        assert Client(open_port).get(path).status == 401, path
    page = viewer.get("//dashboard/")
    assert (page.status, b"bundle.js" in page.body) == (200, True)
    for path in ("//dashboard/\u2215", "//artifacts/1/\uff0e", "//csv/\U0001f600"):
        assert viewer.get(quote(path)).status in (200, 404), path
    assert len(viewer.get("//static/bundle.js").body) > 100_000
    [study] = viewer.get("//api/studies").json["study_summaries"]
    assert study["study_name"] == STUDY
    found = viewer.get(f"//api/studies/{study['study_id']}").json
    assert len(found["trials"]) > 10
    for method, path in (("DELETE", f"//api/studies/{study['study_id']}"), ("POST", "//api/studies")):
        assert root.ask(method, path, {}).status == 405, path
    assert root.ask("PUT", f"//api/studies/{study['study_id']}/note", {"body": "x", "version": 1}).status == 405


def test_nobody_fills_the_queues(ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {**SEARCH, "study": "one-more"}
    assert ada.post("/studies", body).status == 201
    eventually(lambda: ada.get("/studies/one-more").json["state"] == "finished")
    monkeypatch.setattr(core, "MOST_WAITING", 0)
    asked = [("/studies", {**body, "study": "too-many"}), ("/studies/one-more/continue", None), (f"{PATH}/exports", {})]
    for path, wanted in asked:
        answer = ada.post(path, wanted)
        assert (answer.status, "0 of 'ada' wait already" in answer.error["message"]) == (409, True), path
    assert ada.get("/studies/too-many").status == 404


def test_a_study_is_deleted_whole(root: Client, ada: Client, settings: Settings) -> None:
    assert ada.ask("DELETE", f"{PATH}?confirm={STUDY}").status == 403
    assert root.ask("DELETE", f"{PATH}?confirm=other").status == 409
    assert root.ask("DELETE", f"{PATH}?confirm={STUDY}").status == 204
    assert root.get(PATH).status == 404
    with closing(sqlite3.connect(settings.storage.removeprefix("sqlite:///"))) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        filled = {name for name in tables if connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()}
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert {name for name in filled if not name.startswith("service_")} <= {
        "alembic_version",
        "nas_alembic_version",
        "version_info",
        "sqlite_sequence",
    }
    assert list((Path(str(settings.artifacts)) / "weights").glob(f"{STUDY}-*")) == []


def test_a_fault_of_ours_says_nothing_of_it(
    service: Service, root: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(service, "health", fail)
    answer = root.get("/health")
    assert b"a secret" not in answer.body
    assert (answer.status, answer.error["message"]) == (500, "a fault of ours; the log of the service has the details")
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    eventually(lambda: "a secret" in caplog.text)


def test_a_larger_budget_leaves_a_waiting_search_its_place(settings: Settings, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/nas.db"
    with closing(open_store(storage)) as store:
        service = Service(replace(settings, storage=storage, folder=tmp_path), store, lambda: None)
        for study in ("first", "second"):
            service.submit(LOCAL, SearchOptions.model_validate({**SEARCH, "study": study}))
        assert service.extend(LOCAL, "first", 9)["position"] == 1
        assert service.study("first")["budget"] == 9
        service.close()


def test_signing_in_counts_as_a_request(settings: Settings, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/nas.db"
    slow = replace(settings, storage=storage, folder=tmp_path / "service", requests_per_s=0.25)
    with serving(slow) as (service, port):
        form = f"token={service.tokens.add('ada', 'user')}".encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answers = [Client(port).ask("POST", "//session", form, headers) for _ in range(2)]
    assert [answer.status for answer in answers] == [303, 429]


def test_an_error_says_nothing_of_where_the_database_lies(settings: Settings, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/nas.db"
    with closing(open_store(storage)) as store:
        store.create_study(study_record())
    with serving(replace(settings, storage=storage, folder=tmp_path / "service")) as (_, port):
        answer = Client(port).ask("DELETE", "/studies/sample?confirm=sample")
    assert (answer.status, "the database lacks the table 'studies'" in answer.error["message"]) == (422, True)
    assert str(tmp_path).encode() not in answer.body


def test_wrong_tokens_are_slowed_down(served: tuple[Service, int], tokens: dict[str, str]) -> None:
    answers = [Client(served[1], f"nas_{number}").get("/me") for number in range(20)]
    assert answers[-1].status == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert Client(served[1], tokens["ada"]).get("/me").status == 200, "who has the right one is not kept out"
