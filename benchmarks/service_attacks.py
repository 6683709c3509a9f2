"""Attacks on a real service, one line each: what was tried, what was answered, and whether it held.

    python -m benchmarks.service_attacks [--only paths,slow] [--storage URL]

Everything happens on loopback, against a service of its own. `secrets` runs a small search, so that there is a child
with a log; --storage gives that service a database whose URL holds a password.
"""

import argparse
import contextlib
import hmac
import http.client
import http.server
import json
import os
import secrets as random_texts
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import psutil

from benchmarks.service_process import ENTRY, STUDY, Served, add_token, launch, serving

API = "/api/v1"
MEBIBYTE = b"x" * 2**20
CANARY = f"canary-{random_texts.token_hex(8)}"
FORM = {"content-type": "application/x-www-form-urlencoded"}
ELSEWHERE = (
    *(
        "..",
        "../secret.txt",
        "../../secret.txt",
        "knee/../../secret.txt",
        "/etc/passwd",
        "../../../../../../etc/passwd",
    ),
    *("..\\secret.txt", "..\\..\\..\\..\\etc\\passwd", "C:\\secret.txt", "....//secret.txt", "file:///etc/passwd"),
    *("..\0", "knee\0.txt", "~root", "~/secret.txt", "..;/secret.txt", "..\u2215secret.txt", "\uff0e\uff0e/secret.txt"),
)
PLACES = {
    "study": f"{API}/studies/{{}}",
    "trial": f"{API}/studies/{STUDY}/trials/{{}}",
    "drawing": f"{API}/studies/{STUDY}/trials/{{}}/drawing",
    "log": f"{API}/studies/{{}}/log",
    "events": f"{API}/studies/{{}}/events",
    "event id": f"{API}/studies/{STUDY}/events?after={{}}",
    "target": f"{API}/studies/{STUDY}/front?target={{}}",
    "entry": f"{API}/zoo/{{}}",
    "entry's zip": f"{API}/zoo/{{}}/download",
    "entry's drawing": f"{API}/zoo/{{}}/drawing",
    "job": f"{API}/jobs/{{}}",
    "data": f"{API}/spaces?data=folder:{{}}",
    "scale": f"{API}/spaces?scale={{}}",
    "page of a study": "/studies/{}",
    "page of an entry": "/zoo/{}",
    "script or style": "/static/{}",
    "dashboard": "/dashboard/{}",
    "dashboard's artifact": "/artifacts/1/{}",
    "dashboard's artifact of a trial": "/artifacts/1/1/{}",
}
INJECTIONS = (
    *("' OR '1'='1", "'; DROP TABLE service_tokens; --", '" UNION SELECT hash FROM service_tokens --', "%", "_"),
    *("1 OR 1=1", "number; SELECT 1", "top1 DESC, (SELECT hash FROM service_tokens)", "\\", "') --"),
)
FILTERS = {
    "studies": ("state", "owner", "search", "offset", "limit"),
    f"studies/{STUDY}/trials": ("state", "mixer", "sort", "order", "offset", "limit"),
    f"studies/{STUDY}/front": ("target",),
    f"studies/{STUDY}/explain": ("trial",),
}
PRIVATE = (
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]", "[::ffff:127.0.0.1]", "localhost"),
    *("169.254.169.254", "10.0.0.1", "192.168.0.1", "172.16.0.1", "[fd00::1]", "[fe80::1]", "100.64.0.1", "0.0.0.0"),
)


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


SEEN: list[bytes] = []
"""Every answer of the service, to be searched for secrets."""


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


def is_refused(answers: list[Answer], statuses: tuple[int, ...] = (400, 403, 404, 405, 409, 422)) -> bool:
    """Whether all were refused, and none shows what lies elsewhere."""
    leaks = [answer for answer in answers if b"root:x:" in answer.body or CANARY.encode() in answer.body]
    return not leaks and all(answer.status in statuses for answer in answers)


def paths(served: Served) -> Iterator[Finding]:
    """Names that lead elsewhere, encoded once and twice, in every place of a name."""
    (served.folder / "secret.txt").write_text(CANARY, encoding="utf-8")
    for what, place in PLACES.items():
        answers = []
        for text in ELSEWHERE:
            once = quote(text, safe="")
            for form in (once, quote(once, safe=""), quote(text, safe="/:;~\\")):
                answers.append(ask(served, "GET", place.format(form)))
        page = (200,) if what == "dashboard" else ()  # it has one page for all of its addresses
        yield Finding(f"path as {what}", shown(answers), is_refused(answers, (400, 403, 404, 422, *page)))
    for option, before in (("data", "folder:"), ("recipe", ""), ("space", ""), ("study", ""), ("scale", "")):
        answers = [submit(served, "user", **{option: before + text}) for text in ELSEWHERE]
        harmless = option == "study"  # a name of a study may hold dots and backslashes: no file is named after it
        taken = (201, 409) if harmless else ()
        yield Finding(f"path as {option} of a search", shown(answers), is_refused(answers, (403, 422, *taken)))
    for option in ("name", "pick"):
        bodies = [json.dumps({option: text}).encode() for text in ELSEWHERE]
        given = {"content_type": "application/json"}
        answers = [ask(served, "POST", f"{API}/studies/{STUDY}/exports", body, **given) for body in bodies]
        yield Finding(f"path as {option} of an export", shown(answers), is_refused(answers))


def sql(served: Served) -> Iterator[Finding]:
    """SQL where a filter, an order or a number is expected."""
    for route, names in FILTERS.items():
        for name in names:
            answers = [ask(served, "GET", f"{API}/{route}?{name}={quote(text)}") for text in INJECTIONS]
            found = [json.loads(answer.body).get("total", 0) for answer in answers if answer.status == 200]
            holds = not any(found) and all(answer.status in (200, 404, 409, 422) for answer in answers)
            yield Finding(f"SQL as {name} of {route}", f"{shown(answers)}; rows found: {sum(found)}", holds)
    yield Finding("tokens afterwards", str(ask(served, "GET", f"{API}/me").status), True)


def bodies(served: Served) -> Iterator[Finding]:
    """100 MB, with its length and without."""
    process = psutil.Process(served.process.pid)
    token = served.tokens["viewer"]
    head = f"HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
    for path in (f"{API}/studies", "/session"):
        for form in ("content-length: 104857600", "transfer-encoding: chunked"):
            before = process.memory_info().rss
            begun = time.monotonic()
            with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
                connection.sendall(f"POST {path} {head}{form}\r\n\r\n".encode())
                part = MEBIBYTE if "length" in form else b"100000\r\n" + MEBIBYTE + b"\r\n"
                for _ in range(100):
                    connection.sendall(part)
                status = connection.recv(64).split(b"\r\n")[0].decode()
            grown = (process.memory_info().rss - before) / 2**20
            answer = f"{status} after {time.monotonic() - begun:.1f} s; memory {grown:+.0f} MiB"
            yield Finding(f"100 MB to {path}, {form.partition(':')[0]}", answer, " 413 " in status and grown < 32)


def slow(served: Served) -> Iterator[Finding]:
    """Clients that keep a connection and give or take nothing."""
    token = f"authorization: Bearer {served.tokens['viewer']}\r\n"
    page = f"GET {API}/studies/{STUDY}/trials?limit=500 HTTP/1.1\r\nhost: x\r\n{token}\r\n".encode()
    post = f"POST {API}/studies HTTP/1.1\r\nhost: x\r\n{token}content-length: 100000000\r\n\r\n".encode()
    get = f"GET {API}/me HTTP/1.1\r\nhost: x\r\n".encode()
    process = psutil.Process(served.process.pid)
    before = process.memory_info().rss
    waits = {
        "nothing is sent": lambda: _trickle(served, b"", b""),
        "headers, a byte a second": lambda: _trickle(served, get, b"x"),
        "a body, a byte a second": lambda: _trickle(served, post, b"x"),
        "a body, a byte a second, behind its refusal": lambda: _trickle(served, post + 2 * MEBIBYTE, b"x"),
        "answers are asked for without end, and none is read": lambda: _unread(served, page),
    }
    took: dict[str, float] = {}
    threads = [threading.Thread(target=_timed, args=(took, what, wait)) for what, wait in waits.items()]
    for thread in threads:
        thread.start()
    time.sleep(5)
    begun = time.monotonic()
    status = ask(served, "GET", f"{API}/studies/{STUDY}").status
    meanwhile = time.monotonic() - begun
    grown = (process.memory_info().rss - before) / 2**20
    for thread in threads:
        thread.join()
    for what, seconds in took.items():
        yield Finding(what, f"cut after {seconds:.0f} s", seconds < 100)
    answer = f"{status} in {1_000 * meanwhile:.0f} ms; memory {grown:+.0f} MiB"
    yield Finding("another client meanwhile", answer, status == 200 and meanwhile < 1 and grown < 64)


def _timed(took: dict[str, float], what: str, wait: Callable[[], None]) -> None:
    begun = time.monotonic()
    with contextlib.suppress(OSError):
        wait()
    took[what] = time.monotonic() - begun


def _trickle(served: Served, beginning: bytes, part: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=1) as connection:
        connection.sendall(beginning)
        for _ in range(120):
            connection.sendall(part)
            with contextlib.suppress(TimeoutError):
                while connection.recv(65_536):
                    pass
                return


def _unread(served: Served, request: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=120) as connection:
        while True:
            connection.sendall(request)


def crowd(served: Served) -> Iterator[Finding]:
    """More connections than are taken, none of which says anything."""
    opened = []
    for _ in range(1_100):
        with contextlib.suppress(OSError):
            opened.append(socket.create_connection(("127.0.0.1", served.port), timeout=5))
    during = _status(served)
    begun = time.monotonic()
    while _status(served) != 200 and time.monotonic() - begun < 90:
        time.sleep(1)
    waited = time.monotonic() - begun
    for connection in opened:
        connection.close()
    answer = f"{len(opened)} open; others get {during}, and 200 again after {waited:.0f} s"
    yield Finding("1,100 silent connections", answer, waited < 90)


def _status(served: Served) -> int:
    try:
        return ask(served, "GET", f"{API}/health").status
    except OSError:
        return 0


def sign_in(served: Served, token: str, **headers: str) -> Answer:
    """Begin a session."""
    return ask(served, "POST", "/session", f"token={token}".encode(), authorization="", **FORM, **headers)


def cookie_of(answer: Answer) -> str:
    """The cookie of a session that has begun."""
    return answer.headers["set-cookie"].partition(";")[0]


def own_text(cookie: str) -> str:
    """The text that forms of a session carry, as its own pages know it."""
    return hmac.new(cookie.partition("=")[2].encode(), b"csrf", "sha256").hexdigest()


def sessions(served: Served) -> Iterator[Finding]:
    """Sessions that are replayed, forged and exchanged for tokens."""
    cookie = cookie_of(sign_in(served, served.tokens["user"]))
    me = f"{API}/me"
    yield _expected("a session is used", [ask(served, "GET", me, cookie=cookie)], 200)
    forged = {
        "tampered": cookie[:-1] + ("A" if cookie[-1] != "A" else "B"),
        "forged": f"nas_session=nas_{random_texts.token_urlsafe(32)}",
        "empty": "nas_session=",
        "a token as its cookie": f"nas_session={served.tokens['admin']}",
        "of 8,000 characters": f"nas_session={'x' * 8_000}",
        "of odd signs": 'nas_session="\\";\x7f',
    }
    for what, text in forged.items():
        yield _expected(f"session {what}", [ask(served, "GET", me, cookie=text)], 401, 429)
    as_token = f"Bearer {cookie.partition('=')[2]}"
    yield _expected("a session as a token", [ask(served, "GET", me, authorization=as_token)], 401, 429)
    form = f"csrf_token={own_text(cookie)}".encode()
    ask(served, "POST", "/session/end", form, cookie=cookie, **FORM)
    yield _expected("replayed after sign-out", [ask(served, "GET", me, cookie=cookie)], 401, 429)
    secret = add_token(served.folder, "leaving", "user", storage=served.storage)
    cookie = cookie_of(sign_in(served, secret))
    launch(served.folder, served.storage, "token", "revoke", "leaving")
    yield _expected("replayed after its token was revoked", [ask(served, "GET", me, cookie=cookie)], 401, 429)


def csrf(served: Served) -> Iterator[Finding]:
    """Forms of other sites."""
    cookie = cookie_of(sign_in(served, served.tokens["admin"]))
    stop = f"{API}/studies/{STUDY}/stop"
    other = own_text(cookie_of(sign_in(served, served.tokens["user"])))
    own = own_text(cookie)
    tries: dict[str, dict[str, str]] = {
        "without its text": {},
        "with the text of another session": {"x_csrf_token": other},
        "from another site": {"x_csrf_token": own, "sec_fetch_site": "cross-site"},
        "from a neighbouring site": {"x_csrf_token": own, "sec_fetch_site": "same-site"},
        "from another origin": {"x_csrf_token": own, "origin": "http://evil.example"},
        "from origin null": {"x_csrf_token": own, "origin": "null"},
    }
    for what, headers in tries.items():
        yield _expected(f"a request of a session {what}", [ask(served, "POST", stop, cookie=cookie, **headers)], 403)
    right = ask(served, "POST", stop, cookie=cookie, x_csrf_token=own, sec_fetch_site="same-origin")
    yield _expected("the same from its own page", [right], 409)
    foreign = sign_in(served, served.tokens["user"], sec_fetch_site="cross-site")
    yield _expected("a sign-in that another site sends", [foreign], 403)
    preflight = ask(served, "OPTIONS", f"{API}/studies", origin="http://evil.example")
    allowed = [name for name in preflight.headers if name.startswith("access-control")]
    yield Finding("a preflight of another site", f"{preflight.status}, allows {allowed or 'nothing'}", not allowed)


def webhooks(served: Served) -> Iterator[Finding]:
    """Notifications to where only this machine can reach."""
    from hybrid_nas.notifying import HOSTS_VARIABLE, Receiver
    from nas.errors import NasError
    from nas.workspace import NOTIFY_KEY_VARIABLE

    answers = [submit(served, "user", notify=f"http://{host}/hook") for host in PRIVATE]
    yield _expected("webhook to a private address, not allowed", answers, 403)
    odd = ("http://[x", "gopher://x/", "http://ok.example@127.0.0.1/", "http://x\r\nhost: y", "file:///etc/passwd")
    yield _expected("webhook of an odd form", [submit(served, "user", notify=url) for url in odd], 403, 422)
    os.environ[NOTIFY_KEY_VARIABLE] = "a key"
    names = [str(urlsplit(f"http://{host}").hostname) for host in PRIVATE]
    os.environ[HOSTS_VARIABLE] = ",".join(names)
    with _receiver() as (port, heard):
        refusals = []
        for host in PRIVATE:
            try:
                Receiver.of(f"http://{host}:{port}/hook").post({})
            except NasError as error:
                refusals.append(str(error))
        private = sum("not public" in text for text in refusals)
        answer = f"{len(refusals)} of {len(PRIVATE)} refused, {private} as not public; heard: {len(heard)}"
        yield Finding("webhook to a private address, though its name is allowed", answer, not heard)
        del os.environ[HOSTS_VARIABLE]
        try:
            Receiver.of(f"http://127.0.0.1:{port}/hook").post({})
            answer = "taken"
        except NasError as error:
            answer = str(error)
        yield Finding("webhook that redirects", f"{answer}; requests: {len(heard)}", heard == ["/hook"])


@contextlib.contextmanager
def _receiver() -> Iterator[tuple[int, list[str]]]:
    heard: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.path)
            self.send_response(307)
            self.send_header("location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], heard
        server.shutdown()


def brute_force(served: Served) -> Iterator[Finding]:
    """Wrong tokens, one after the other."""
    guesses = [f"Bearer nas_{random_texts.token_urlsafe(32)}" for _ in range(40)]
    answers = [ask(served, "GET", f"{API}/me", authorization=guess) for guess in guesses]
    yield Finding("40 wrong tokens", shown(answers), Counter(each.status for each in answers)[401] <= 15)
    answers = []
    for number, guess in enumerate(guesses):
        forwarded = f"198.51.100.{number}"
        given = {"x_forwarded_for": forwarded, "forwarded": f"for={forwarded}", "x_real_ip": forwarded}
        answers.append(ask(served, "GET", f"{API}/me", authorization=guess, **given))
    yield Finding("the same from addresses that are only said", shown(answers), answers[-1].status == 429)
    answers = [sign_in(served, f"nas_{number}") for number in range(40)]
    yield Finding("40 wrong tokens to sign in with", shown(answers), answers[-1].status == 429)
    yield _expected("the right one meanwhile", [ask(served, "GET", f"{API}/me")], 200)


def hosts(served: Served) -> Iterator[Finding]:
    """Names of others that lead here, to a service without tokens."""
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.1@evil.example", ""):
        answers = [ask(served, "GET", path, host=host) for path in (f"{API}/studies", "/", "/dashboard/")]
        yield _expected(f"asked for as {host!r}", answers, 400, 403)
    stop = ask(served, "POST", f"{API}/studies/{STUDY}/stop", origin="http://evil.example")
    yield _expected("a form of another site", [stop], 403)
    yield _expected("through a proxy", [ask(served, "GET", f"{API}/me", x_forwarded_for="198.51.100.1")], 403)
    yield _expected("asked for as 127.0.0.1", [ask(served, "GET", f"{API}/me")], 200)


def smuggling(served: Served) -> Iterator[Finding]:
    """Requests whose end can be read in two ways."""
    inner = f"GET {API}/health HTTP/1.1\r\nhost: x\r\n\r\n"
    heads = {
        "length and chunks": f"content-length: {len(inner) + 5}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
        "two lengths": f"content-length: 0\r\ncontent-length: {len(inner)}\r\n\r\n{inner}",
        "a length with a sign": f"content-length: +{len(inner)}\r\n\r\n{inner}",
        "chunks by another name": f"transfer-encoding: xchunked\r\n\r\n{inner}",
        "chunks twice": f"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n{inner}",
        "a space before the colon": f"transfer-encoding : chunked\r\n\r\n0\r\n\r\n{inner}",
        "a line that goes on": f"content-length: 0\r\nx: y\r\n transfer-encoding: chunked\r\n\r\n{inner}",
        "a bare line feed": f"x: y\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
        "headers of 1 MiB": f"x: {'y' * 2**20}\r\n\r\n",
        "a NUL in a header": "x: \0\r\n\r\n",
    }
    for what, rest in heads.items():
        with socket.create_connection(("127.0.0.1", served.port), timeout=2) as connection:
            content = b""
            with contextlib.suppress(OSError):
                connection.sendall(f"POST {API}/studies HTTP/1.1\r\nhost: x\r\n{rest}".encode())
                while part := connection.recv(65_536):
                    content += part
        answers = [line.split(b" ")[1].decode() for line in content.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
        yield Finding(f"{what}", f"answers: {', '.join(answers) or 'none, cut'}", "500" not in answers)


def headers(served: Served) -> Iterator[Finding]:
    """Line ends where a header is made of what was given."""
    ends = ("%0d%0ax-evil:1", "%0ax-evil:1", "%E5%98%8Ax-evil:1", "\u010d\u010ax-evil:1")
    for what, path in (
        ("zip", f"{API}/zoo/{ENTRY}{{}}/download"),
        ("page", "/studies/{}"),
        ("sign-in", "/login?to=/{}"),
    ):
        answers = [ask(served, "GET", path.format(quote(end, safe="%:")), accept="text/html") for end in ends]
        holds = not any("x-evil" in answer.headers for answer in answers)
        yield Finding(f"line ends in the address of a {what}", f"{shown(answers)}; headers added: none", holds)
    to = (
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/\r\nx-evil: 1",
    )
    given = [f"token={served.tokens['viewer']}&to={quote(text, safe='')}".encode() for text in to]
    answers = [ask(served, "POST", "/session", body, authorization="", **FORM) for body in given]
    places = sorted({answer.headers["location"] for answer in answers})
    holds = all(place.startswith("/") and not place.startswith(("//", "/\\")) for place in places)
    yield Finding("sign-in that leads elsewhere", f"leads to {', '.join(places)}", holds)
    zipped = ask(served, "GET", f"{API}/zoo/{ENTRY}/download").headers["content-disposition"]
    yield Finding("name of a zip", zipped, zipped == f'attachment; filename="{ENTRY}.zip"')
    page = ask(served, "GET", "/", accept="text/html").headers
    yield Finding(
        "policy of a page", page["content-security-policy"], "default-src 'self'" in page["content-security-policy"]
    )


def secrets(served: Served) -> Iterator[Finding]:
    """Tokens and the database's password, in whatever can be seen."""
    submit(served, "user", study="kept")
    state = ""
    while state not in ("finished", "failed"):
        time.sleep(1)
        state = json.loads(ask(served, "GET", f"{API}/studies/kept").body)["state"]
        SEEN.append(_commands(served.process.pid))
    for path in ("log", "events", "trials", "front"):
        ask(served, "GET", f"{API}/studies/kept/{path}")
    pages = [ask(served, "GET", path, accept="text/html") for path in ("/", "/studies/kept", "/nowhere", "/zoo")]
    hidden = {f"token of {role}": token for role, token in served.tokens.items()}
    hidden["password of the database"] = urlsplit(served.storage).password or "no password"
    files = [path for path in served.folder.rglob("*") if path.is_file()]
    written = [path.read_bytes() for path in files]
    for what, secret in hidden.items():
        places = {"answers": SEEN, "files, logs and database": written, "pages": [page.body for page in pages]}
        found = [place for place, texts in places.items() if secret.encode() in b"".join(texts)]
        looked = f"{len(SEEN)} answers and process lists, {len(files)} files"
        yield Finding(what, f"found in {', '.join(found) or 'none'} of {looked}; search {state}", not found)


def _commands(pid: int) -> bytes:
    """Arguments of every process that this user sees."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += process.cmdline()
    return "\0".join(found).encode(errors="replace")


def _expected(attack: str, answers: list[Answer], *statuses: int) -> Finding:
    return Finding(attack, shown(answers), all(answer.status in statuses for answer in answers))


Attack = Callable[[Served], Iterator[Finding]]
ATTACKS: Mapping[str, Attack] = {
    each.__name__: each
    for each in (paths, sql, bodies, sessions, csrf, webhooks, smuggling, headers, brute_force, slow, crowd)
}


def main() -> None:
    """Print a line for each attack, and end with 1 where one did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--only", default="", help=f"Some of {', '.join([*ATTACKS, 'hosts', 'secrets'])}, by commas.")
    parser.add_argument("--storage", default="sqlite:///nas.db", help="Database of the service that keeps secrets.")
    options = parser.parse_args()
    wanted = set(filter(None, options.only.split(","))) or {*ATTACKS, "hosts", "secrets"}
    failed = 0
    for name in [name for name in ATTACKS if name in wanted]:
        with serving(["--requests-per-s", "1000"]) as served:
            failed += report(name, ATTACKS[name](served))
    if "hosts" in wanted:
        with serving(with_tokens=False) as served:
            failed += report("hosts", hosts(served))
    if "secrets" in wanted:
        with serving(storage=options.storage) as served:
            failed += report("secrets", secrets(served))
    raise SystemExit(f"{failed} did not hold" if failed else 0)


def report(name: str, findings: Iterator[Finding]) -> int:
    """Print what was found; how many did not hold."""
    failed = 0
    for finding in findings:
        failed += not finding.holds
        print(f"{'held  ' if finding.holds else 'FAILED'} {name}: {finding.attack}: {finding.answer}", flush=True)
    return failed


if __name__ == "__main__":
    main()
