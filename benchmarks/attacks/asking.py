"""How an attacked service is asked, and what is found."""

import contextlib
import hmac
import http.client
import json
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.service_process import Served

API = "/api/v1"
FORM = {"content-type": "application/x-www-form-urlencoded"}
SEEN: list[bytes] = []
"""Every answer of the service, to be searched for secrets."""


class Finding(NamedTuple):
    """One attack."""

    attack: str
    answer: str
    holds: bool


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(served: Served, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """One request; as the administrator unless it says who asks."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if not {"authorization", "cookie"} & set(sent) and "admin" in served.tokens:
        sent["authorization"] = f"Bearer {served.tokens['admin']}"
    if not sent.get("authorization", "x"):
        del sent["authorization"]
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)) as connection:
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        given = {name.lower(): value for name, value in response.getheaders()}
        streams = given.get("content-type", "").startswith("text/event-stream")
        content = response.readline() if streams else response.read()
    SEEN.append(str(given).encode() + content)
    return Answer(response.status, given, content)


def submit(served: Served, role: str = "admin", **options: object) -> Answer:
    """A submission with some options."""
    body = {"space": "conv_only", "budget": 2, "objectives": "top1,macs", "study": "attack", **options}
    authorization = f"Bearer {served.tokens[role]}"
    content = json.dumps(body).encode()
    return ask(served, "POST", f"{API}/studies", content, authorization=authorization, content_type="application/json")


def shown(answers: list[Answer]) -> str:
    """How often which status was answered."""
    counts = Counter(answer.status for answer in answers)
    return ", ".join(f"{status} x{count}" for status, count in sorted(counts.items()))


def expected(attack: str, answers: list[Answer], *statuses: int) -> Finding:
    """Holds where every answer has one of the statuses."""
    return Finding(attack, shown(answers), all(answer.status in statuses for answer in answers))


def sign_in(served: Served, token: str, **headers: str) -> Answer:
    """Begin a session."""
    return ask(served, "POST", "/session", f"token={token}".encode(), authorization="", **FORM, **headers)


def cookie_of(answer: Answer) -> str:
    """The cookie of a session that has begun."""
    return answer.headers["set-cookie"].partition(";")[0]


def own_text(cookie: str) -> str:
    """The text that forms of a session carry, as its own pages know it."""
    return hmac.new(cookie.partition("=")[2].encode(), b"csrf", "sha256").hexdigest()
