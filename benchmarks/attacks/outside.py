"""What a service tells others: notifications to where they must not go, and secrets."""

import contextlib
import http.client
import http.server
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from benchmarks.attacks.asking import (
    API,
    SEEN,
    Finding,
    ask,
    expected,
    submit,
)
from benchmarks.service_process import Served

PRIVATE = (
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]", "[::ffff:127.0.0.1]", "localhost"),
    *("169.254.169.254", "10.0.0.1", "192.168.0.1", "172.16.0.1", "[fd00::1]", "[fe80::1]", "100.64.0.1", "0.0.0.0"),
)


def webhooks(served: Served) -> Iterator[Finding]:
    """Notifications to where only this machine can reach."""
    from hybrid_nas.notifying import HOSTS_VARIABLE, Receiver
    from nas.errors import NasError
    from nas.workspace import NOTIFY_KEY_VARIABLE

    answers = [submit(served, "user", notify=f"http://{host}/hook") for host in PRIVATE]
    yield expected("webhook to a private address, not allowed", answers, 403)
    odd = ("http://[x", "gopher://x/", "http://ok.example@127.0.0.1/", "http://x\r\nhost: y", "file:///etc/passwd")
    yield expected("webhook of an odd form", [submit(served, "user", notify=url) for url in odd], 403, 422)
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


def secrets(served: Served) -> Iterator[Finding]:
    """Tokens and the database's password, in whatever can be seen."""
    submit(served, "user", study="kept")
    state = ""
    while state not in ("finished", "failed"):
        time.sleep(1)
        state = json.loads(ask(served, "GET", f"{API}/studies/kept").body)["state"]
        SEEN.append(_commands())
        SEEN.append(_seen_by_others())
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


def _seen_by_others() -> bytes:
    """Arguments, environments and states of all processes, as far as a user without rights reads them.

    Only root can act as another user; for everybody else nothing is looked at.
    """
    if os.geteuid():
        return b""
    paths: list[Path] = []
    for name in ("cmdline", "environ", "status"):
        paths += Path("/proc").glob(f"[0-9]*/{name}")
    return subprocess.run(["cat", *paths], user="nobody", capture_output=True).stdout


def _commands() -> bytes:
    """Arguments of every process that this user sees."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += process.cmdline()
    return "\0".join(found).encode(errors="replace")
