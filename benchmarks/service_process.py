"""A real `launch.py serve` over the recorded study of the tests, with a token of each role, to be asked at will."""

import contextlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / "launch.py"
ARCHIVE = ROOT / "tests" / "recorded" / "study-0.1.0.tar.gz"
STUDY = "recorded"
ENTRY = "knee"
"""What the archive holds: a study and an entry of a zoo."""
DEFAULT_STORAGE = "sqlite:///nas.db"
ROLES = ("viewer", "user", "admin")


@dataclass(frozen=True, slots=True)
class Served:
    """A service that runs."""

    folder: Path
    """Where its database, zoo and logs lie."""
    port: int
    storage: str
    """URL of its database."""
    tokens: Mapping[str, str]
    """Role -> token."""
    process: subprocess.Popen[str]


@contextlib.contextmanager
def serving(words: Sequence[str] = (), *, with_tokens: bool = True, storage: str = DEFAULT_STORAGE) -> Iterator[Served]:
    """A service while the block runs; it and its folder are gone afterwards.

    Args:
        words: more arguments of `serve`.
        with_tokens: make a token of each role first.
        storage: URL of the database; the recorded study is in the default one.
    """
    with tempfile.TemporaryDirectory(prefix="nas-service-") as name:
        folder = Path(name)
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(folder, filter="data")
        tokens = {role: add_token(folder, role, storage=storage) for role in ROLES if with_tokens}
        command = ["serve", "--port", "0", "--artifacts", "artifacts", *words]
        process = subprocess.Popen(
            [sys.executable, str(LAUNCH), *command],
            cwd=folder,
            env=_environment(storage),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield Served(folder, _port(process), storage, tokens, process)
        finally:
            process.terminate()
            process.communicate()
            _end_searches(folder)


def add_token(folder: Path, name: str, role: str | None = None, *, storage: str) -> str:
    """A new token of the service in a folder; the role is the name by default."""
    return launch(folder, storage, "token", "add", name, "--role", role or name).strip()


def launch(folder: Path, storage: str, *words: str) -> str:
    """What a command prints that works on a database, in a folder."""
    command = [sys.executable, str(LAUNCH), *words]
    done = subprocess.run(command, cwd=folder, env=_environment(storage), capture_output=True, text=True, check=True)
    return done.stdout


def _environment(storage: str) -> dict[str, str]:
    return {**os.environ, "NAS_STORAGE": storage, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def _end_searches(folder: Path) -> None:
    """A search goes on without its service."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                process.terminate()
                found.append(process)
    _, alive = psutil.wait_procs(found, timeout=60)
    for process in alive:
        process.kill()


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if match := re.search(r"serving on http://\S+:(\d+)", line):
            return int(match[1])
    raise SystemExit(said)
