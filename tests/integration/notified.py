"""Searches of a service that tell receivers, in a network of their own where a public address is this machine's.

Run by test_service_notify.py within `unshare --net --mount`, in the folder that is given: the fence of notifications
is on, and what it lets through is real. Prints what was heard and how long it took, as JSON.
"""

import hashlib
import hmac
import http.server
import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.integration.serve import LAUNCH, Serve
from tests.waiting import eventually

ADDRESS = "93.184.215.14"
HOST = "hook.example.org"
KEY = "a key of two"
PAGE = Path(__file__).resolve().parents[2] / "docs/reference/notifications.md"
OPTIONS = ["--space=conv_only", "--objectives=top1,macs", "--workers=1", "--budget=2"]
RECIPES = {
    "own.json": {"rungs": [16], "batch_size": 64, "learning_rate": 0.01},
    "diverges.json": {"rungs": [32], "batch_size": 64, "learning_rate": 99, "weight_decay": 99},
}


class Receiver(http.server.ThreadingHTTPServer):
    """Answers by its path: /good, /broken with 500, /hangs not for a minute."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((ADDRESS, 0), _Handler)
        self.heard: list[tuple[str, str, str, str]] = []
        """Path, signature, body, and what the page says against it."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://{HOST}:{self.server_address[1]}/{path}"


def refusal(header: str, body: bytes) -> str:
    """Why the recipe of the page refuses a message that comes now; empty where it does not."""
    [recipe] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    given = {"hmac": hmac, "hashlib": hashlib, "json": json, "time": time, "key": KEY.encode(), "seen": set()}
    try:
        exec(recipe, {**given, "headers": {"NAS-Signature": header}, "body": body})  # noqa: S102 (what the page says)
    except AssertionError as error:
        return str(error)
    return ""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        header = self.headers["NAS-Signature"]
        self.server.heard.append((self.path, header, body.decode(), refusal(header, body)))
        if self.path == "/hangs":
            time.sleep(60)
        self.send_response(500 if self.path == "/broken" else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main(folder: Path) -> None:
    """Search once for each receiver."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost inside.example.org\n{ADDRESS} {HOST}\n")
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
    for name, recipe in RECIPES.items():
        (folder / name).write_text(json.dumps(recipe))
    receiver = Receiver()
    allowed = [f"--notify-host={host}" for host in (HOST, "inside.example.org")]
    server = Serve(folder, *allowed, NAS_NOTIFY_KEY=KEY)
    try:
        found = _search_all(server, receiver, folder)
    finally:
        server.close()
    print(json.dumps({**found, "heard": receiver.heard}))


def _search_all(server: Serve, receiver: Receiver, folder: Path) -> dict[str, Any]:
    def submit(study: str, url: str, *options: str) -> tuple[int, str, float]:
        words = [sys.executable, str(LAUNCH), "submit", *OPTIONS, f"--study={study}", f"--notify={url}", *options]
        begun = time.monotonic()
        done = subprocess.run(words, cwd=folder, env=server.client, capture_output=True, text=True, timeout=900)
        return done.returncode, done.stdout + done.stderr, time.monotonic() - begun

    good = "--recipe=own.json", "--watch"
    found: dict[str, Any] = {name: submit(name, receiver.url(name), *good) for name in ("good", "broken", "hangs")}
    inside = receiver.url("inside").replace(HOST, "inside.example.org")
    found["inside"] = submit("inside", inside, *good)
    found["refused"] = submit("refused", "http://elsewhere.example.org/", *good)
    submit("fails", receiver.url("fails"), "--recipe=diverges.json")
    eventually(lambda: any(path == "/fails" for path, *_ in receiver.heard), 600)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
