"""Fixtures for every test: a seeded generator, and databases that exist for one test or one session."""

import gc
import shutil
import signal
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import settings
from sqlalchemy import Engine

from db.engine import make_engine
from db.store import SqlStore, open_store

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.postgres_server import PostgresServer

pytest.register_assert_rewrite(
    "tests.contracts.store_contract", "tests.contracts.evaluator_contract", "tests.contracts.space_contract"
)

# Nothing here is timed: the pace of a shared machine is nobody's fault.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def signals_as_in_a_terminal() -> None:
    """Tests send signals; under nohup and in a background job they would be ignored, here and in child processes."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def ffcv(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """FFCV, or the test is skipped."""
    pytest.importorskip("ffcv", reason="ffcv is not installed (extra `ffcv`)", exc_type=ImportError)
    report = sys.unraisablehook

    def report_others(what: Any) -> None:
        """The finalizer of a function that Numba compiled for a loader may fail when the loader goes; nothing of ours
        is in it."""
        if not (isinstance(what.object, weakref.finalize) and isinstance(what.exc_value, KeyError)):
            report(what)

    monkeypatch.setattr(sys, "unraisablehook", report_others)
    yield
    gc.collect()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'nas.db'}"


@pytest.fixture
def facts_engine(sqlite_url: str) -> Iterator[Engine]:
    """A database of one empty table, `facts`, of numbers."""
    made = make_engine(sqlite_url)
    with made.begin() as connection:
        connection.execute(sa.text("CREATE TABLE facts (number INTEGER)"))
    yield made
    made.dispose()


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[SqlStore]:
    store = open_store(sqlite_url)
    yield store
    store.close()


@pytest.fixture(scope="session")
def postgres_server() -> "Iterator[PostgresServer]":
    """A real server, for the marker `postgres`."""
    pytest.importorskip("psycopg", reason="needs psycopg (the extra `postgres`)")
    from tests.postgres_server import PostgresServer, find_binaries, unprivileged_account

    account = unprivileged_account()
    binaries = find_binaries(account)
    if binaries is None:
        pytest.skip("needs the binaries of PostgreSQL: the package pgserver, or the system's postgresql")
    server = PostgresServer(binaries, account)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_url(postgres_server: "PostgresServer") -> str:
    """One database for the whole session: its users choose distinct study names."""
    return postgres_server.url


@pytest.fixture
def empty_postgres_url(postgres_server: "PostgresServer") -> str:
    """A new database without tables."""
    return postgres_server.new_database()


@pytest.fixture
def page() -> "Iterator[Page]":
    """A page that must not complain and must not ask for anything but files."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")
    from playwright.sync_api import sync_playwright

    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on(
            "request", lambda request: problems.append(request.url) if not request.url.startswith("file:") else None
        )
        yield page
        browser.close()
    assert problems == []


@pytest.fixture
def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command line; gives exit code, output and errors."""
    import launch

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["launch.py", *arguments])
        code = 0
        try:
            launch.main()
        except SystemExit as end:
            code = int(end.code or 0)
        output = capsys.readouterr()
        return code, output.out, output.err

    return call
