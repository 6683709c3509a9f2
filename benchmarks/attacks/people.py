"""Who pretends to be somebody else."""

import secrets as random_texts
from collections import Counter
from collections.abc import Iterator

from benchmarks.attacks.asking import API, FORM, Finding, ask, cookie_of, expected, own_text, shown, sign_in
from benchmarks.service_process import STUDY, Served, add_token, launch


def sessions(served: Served) -> Iterator[Finding]:
    """Sessions that are replayed, forged and exchanged for tokens."""
    cookie = cookie_of(sign_in(served, served.tokens["user"]))
    me = f"{API}/me"
    yield expected("a session is used", [ask(served, "GET", me, cookie=cookie)], 200)
    forged = {
        "tampered": cookie[:-1] + ("A" if cookie[-1] != "A" else "B"),
        "forged": f"nas_session=nas_{random_texts.token_urlsafe(32)}",
        "empty": "nas_session=",
        "a token as its cookie": f"nas_session={served.tokens['admin']}",
        "of 8,000 characters": f"nas_session={'x' * 8_000}",
        "of odd signs": 'nas_session="\\";\x7f',
    }
    for what, text in forged.items():
        yield expected(f"session {what}", [ask(served, "GET", me, cookie=text)], 401, 429)
    as_token = f"Bearer {cookie.partition('=')[2]}"
    yield expected("a session as a token", [ask(served, "GET", me, authorization=as_token)], 401, 429)
    form = f"csrf_token={own_text(cookie)}".encode()
    ask(served, "POST", "/session/end", form, cookie=cookie, **FORM)
    yield expected("replayed after sign-out", [ask(served, "GET", me, cookie=cookie)], 401, 429)
    secret = add_token(served.folder, "leaving", "user", storage=served.storage)
    cookie = cookie_of(sign_in(served, secret))
    launch(served.folder, served.storage, "token", "revoke", "leaving")
    yield expected("replayed after its token was revoked", [ask(served, "GET", me, cookie=cookie)], 401, 429)


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
        yield expected(f"a request of a session {what}", [ask(served, "POST", stop, cookie=cookie, **headers)], 403)
    right = ask(served, "POST", stop, cookie=cookie, x_csrf_token=own, sec_fetch_site="same-origin")
    yield expected("the same from its own page", [right], 409)
    foreign = sign_in(served, served.tokens["user"], sec_fetch_site="cross-site")
    yield expected("a sign-in that another site sends", [foreign], 403)
    preflight = ask(served, "OPTIONS", f"{API}/studies", origin="http://evil.example")
    allowed = [name for name in preflight.headers if name.startswith("access-control")]
    yield Finding("a preflight of another site", f"{preflight.status}, allows {allowed or 'nothing'}", not allowed)


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
    yield expected("the right one meanwhile", [ask(served, "GET", f"{API}/me")], 200)


def hosts(served: Served) -> Iterator[Finding]:
    """Names of others that lead here, to a service without tokens."""
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.1@evil.example", ""):
        answers = [ask(served, "GET", path, host=host) for path in (f"{API}/studies", "/", "/dashboard/")]
        yield expected(f"asked for as {host!r}", answers, 400, 403)
    stop = ask(served, "POST", f"{API}/studies/{STUDY}/stop", origin="http://evil.example")
    yield expected("a form of another site", [stop], 403)
    yield expected("through a proxy", [ask(served, "GET", f"{API}/me", x_forwarded_for="198.51.100.1")], 403)
    yield expected("asked for as 127.0.0.1", [ask(served, "GET", f"{API}/me")], 200)
