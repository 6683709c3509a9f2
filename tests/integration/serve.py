"""`launch.py serve` as a process on a port that stays the same, and its client's environment."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from tests.waiting import eventually

LAUNCH = Path(__file__).resolve().parents[2] / "launch.py"


class Serve:
    """A service in a folder. Close it."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        """Start it, and wait until it answers."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._command = [sys.executable, str(LAUNCH), "serve", f"--port={port}", "--first-token=admin", *options]
        mine = {name: value for name, value in os.environ.items() if name != "NAS_STORAGE"}
        self._environment = {**mine, **environment}
        self._log = folder / "serve.log"
        self.start()
        [token] = re.findall(r"token of admin, shown once: (nas_\S+)", self.said)
        self.client = {**self._environment, "NAS_SERVER": self.url, "NAS_TOKEN": token}
        """Environment of the commands that ask it."""

    @property
    def said(self) -> str:
        """What it printed, all its starts together."""
        return self._log.read_text(encoding="utf-8")

    def start(self) -> None:
        """Start it again, on the same port."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdout=log, stderr=log
            )
        eventually(self._answers, 300)

    def kill(self) -> None:
        """End it without warning; its searches go on."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it and its searches."""
        self.kill()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if str(self._folder) in process.cwd() and process.pid != os.getpid():
                    process.kill()

    def ask(self, path: str) -> Any:
        """The answer to a GET below /api/v1."""
        headers = {"Authorization": f"Bearer {self.client['NAS_TOKEN']}"} if hasattr(self, "client") else {}
        request = urllib.request.Request(f"{self.url}/api/v1{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.said
        try:
            return bool(self.ask("/health")["status"] == "ok")
        except OSError:
            return False
