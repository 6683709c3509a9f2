"""Names, filters and headers that are something else."""

import json
import secrets as random_texts
from collections.abc import Iterator
from urllib.parse import quote

from benchmarks.attacks.asking import API, FORM, Answer, Finding, ask, shown, submit
from benchmarks.service_process import ENTRY, STUDY, Served

CANARY = f"canary-{random_texts.token_hex(8)}"
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


def is_refused(answers: list[Answer], statuses: tuple[int, ...] = (400, 403, 404, 405, 409, 422)) -> bool:
    """Whether all were refused, and none shows what lies elsewhere."""
    leaks = [answer for answer in answers if b"root:x:" in answer.body or CANARY.encode() in answer.body]
    return not leaks and all(answer.status in statuses for answer in answers)


def sql(served: Served) -> Iterator[Finding]:
    """SQL where a filter, an order or a number is expected."""
    for route, names in FILTERS.items():
        for name in names:
            answers = [ask(served, "GET", f"{API}/{route}?{name}={quote(text)}") for text in INJECTIONS]
            found = [json.loads(answer.body).get("total", 0) for answer in answers if answer.status == 200]
            holds = not any(found) and all(answer.status in (200, 404, 409, 422) for answer in answers)
            yield Finding(f"SQL as {name} of {route}", f"{shown(answers)}; rows found: {sum(found)}", holds)
    yield Finding("tokens afterwards", str(ask(served, "GET", f"{API}/me").status), True)


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
