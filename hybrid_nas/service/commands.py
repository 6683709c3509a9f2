"""The commands `serve` and `token`. What needs the extra `service` is imported when the service starts."""

import contextlib
import gc
import importlib
import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from db.engine import make_engine
from db.service_tables import ensure_service_tables
from db.store import SqlStore, open_store
from db.tokens import ROLES, Role, Tokens
from hybrid_nas import parts
from hybrid_nas.options import artifacts_option, at_least, flag, folder_type, ray_option, shown, storage_option
from hybrid_nas.service.settings import Settings
from hybrid_nas.streams import echo, tell
from nas.errors import InvalidInputError, NasError, StudyLockedError
from nas.hosts import names_this_machine
from nas.search.ownership import Ownership, owned
from nas.text import text_table, utc_text
from nas.workspace import open_log

LEASE = "/service"
"""Names the lease of a database's service; no study can have a slash in its name."""
EXTRA = ("fastapi", "jinja2", "python_multipart", "uvicorn")
"""What the extra `service` brings and no other part of this project needs."""
PROGRAM = Path(__file__).parents[2] / "launch.py"


@click.command()
@shown("--host", default="127.0.0.1", help="Address to listen on; another than this machine's needs a token first.")
@shown("--port", default=8000, type=click.IntRange(0, 65_535), help="0 takes any free one.")
@storage_option
@artifacts_option
@shown("--slots", default=1, type=at_least(1), help="Searches at a time; each gets its part of GPUs or cores.")
@shown("--zoo", default="zoo", type=folder_type, help="Folder of the zoo that exports go to.")
@click.option(
    "--data-folder",
    "data_folders",
    multiple=True,
    type=folder_type,
    help="Data of submissions lie below it; repeatable. Without one they can be digits only.",
)
@flag("--own-spaces", help="Let users name a space by a FILE.py or a module of this host: that runs their code here.")
@click.option("--notify-host", "notify_hosts", multiple=True, help="A host that searches may --notify; repeatable.")
@ray_option
@shown("--requests-per-s", default=50.0, help="Requests of one token; four times as many in a burst.")
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="A reverse proxy whose X-Forwarded-For and X-Forwarded-Proto are believed; repeatable. None by default.",
)
@click.option(
    "--first-token", metavar="NAME", help="Make a token for this administrator and print it, if there is none."
)
def serve(host: str, port: int, storage: str, artifacts: str | None, first_token: str | None, **options: Any) -> None:
    """Let several people submit and follow searches over HTTP."""
    _require_extra()
    url, folder = parts.located(storage, artifacts)
    workspace = parts.workspace_of(url, folder)
    settings = Settings(
        storage=url,
        artifacts=str(workspace.artifacts),  # searches and exports run in folders of their own
        folder=workspace.folder / "service",
        program=(sys.executable, str(PROGRAM)),
        **options,
    )
    with _tokens(url) as tokens:
        if first_token is not None and not tokens.any():
            echo(f"token of {first_token}, shown once: {tokens.add(first_token, 'admin')}")
        if not tokens.any() and not names_this_machine(host):
            raise InvalidInputError(
                f"--host is {host}, and there is no token yet, so everybody there could use the service; make one "
                "first: launch.py token add NAME --role admin"
            )
    _serve(settings, _listening(host, port))


def _serve(settings: Settings, listening: socket.socket) -> None:
    from hybrid_nas.service.app import create_app
    from hybrid_nas.service.wire import server_of

    settings.folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(handlers=[open_log(settings.folder / "service.log")], level=logging.INFO, force=True)
    with contextlib.closing(open_store(settings.storage)) as store, _only_one(store) as ownership:
        server = server_of(create_app(settings, ownership.check), settings.proxies)
        host, port = listening.getsockname()[:2]
        shown_host = f"[{host}]" if ":" in host else host
        tell(f"serving on http://{shown_host}:{port}; Ctrl-C ends the service, and not its searches")
        _collect_seldom()
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def _collect_seldom() -> None:
    """Look for garbage in cycles less often: each look walks what is kept of studies, which is many small objects."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@contextlib.contextmanager
def _only_one(store: SqlStore) -> Iterator[Ownership]:
    """The lease of the service.

    Raises:
        StudyLockedError: if another service works on the database.
    """
    with contextlib.ExitStack() as held:
        try:
            ownership = held.enter_context(owned(store, LEASE, lambda *_: (), tell))
        except StudyLockedError as error:
            raise StudyLockedError(
                "another service works on this database; end that one, or name another database (--storage)"
            ) from error
        yield ownership


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1_024)
    except OSError as error:
        raise InvalidInputError(
            f"cannot listen on {host}:{port} ({error.strerror}); give another --host or --port"
        ) from error


def _require_extra() -> None:
    try:
        for name in EXTRA:
            importlib.import_module(name)
    except ImportError as error:
        raise NasError(
            f"the service needs {error.name}, which is not installed; install this project with the extra `service`"
        ) from error


@click.group()
def token() -> None:
    """Say who may use the service."""


@token.command()
@click.argument("name")
@click.option(
    "--role", required=True, type=click.Choice(ROLES), help="viewer looks, user submits, admin may everything."
)
@storage_option
def add(name: str, role: Role, storage: str) -> None:
    """Make a token for NAME and print it once; only its hash is kept."""
    with _tokens(parts.located(storage)[0]) as tokens:
        echo(tokens.add(name, role))


@token.command("list")
@storage_option
def list_tokens(storage: str) -> None:
    """List everybody who has a token, or had one."""
    with _tokens(parts.located(storage)[0]) as tokens:
        rows = [
            (each.name, each.role, utc_text(each.created), "" if each.revoked is None else utc_text(each.revoked))
            for each in tokens.all()
        ]
    echo(text_table(("name", "role", "created", "revoked"), rows, right=0) if rows else "no tokens yet")


@token.command()
@click.argument("name")
@storage_option
def revoke(name: str, storage: str) -> None:
    """Make the token of NAME useless at once."""
    with _tokens(parts.located(storage)[0]) as tokens:
        tokens.revoke(name)
    echo(f"revoked the token of {name}")


@contextlib.contextmanager
def _tokens(url: str) -> Iterator[Tokens]:
    """The tokens of a database, whose tables are made if they are missing."""
    open_store(url).close()
    engine = make_engine(url)
    try:
        ensure_service_tables(engine)
        yield Tokens(engine)
    finally:
        engine.dispose()
