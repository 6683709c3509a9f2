"""A throw-away PostgreSQL server for tests, on 127.0.0.1 and a free port, as root or as an ordinary user."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

USER = "nas"


def find_binaries(account: str | None) -> Path | None:
    """The first folder of PostgreSQL binaries that `account` (None: this user) can run: pgserver's, the system's, those
    on the path."""
    folders = []
    pgserver = importlib.util.find_spec("pgserver")
    if pgserver is not None and pgserver.origin is not None:
        folders.append(Path(pgserver.origin).parent / "pginstall" / "bin")
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    initdb = shutil.which("initdb")
    if initdb is not None:
        folders.append(Path(initdb).parent)
    return next(
        (folder for folder in folders if _runs(folder / "initdb", account) and _runs(folder / "postgres", account)),
        None,
    )


def _runs(binary: Path, account: str | None) -> bool:
    try:
        return (
            subprocess.run([binary, "--version"], capture_output=True, user=account, cwd="/", check=False).returncode
            == 0
        )
    except OSError:
        return False


def unprivileged_account() -> str | None:
    """Whom the server runs as: PostgreSQL refuses root. None: this user."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


class PostgresServer:
    """A running server; `url` names its first database, `new_database` makes more."""

    def __init__(self, binaries: Path, account: str | None) -> None:
        self.binaries = binaries
        self._account = account
        self._password = f"pw-{secrets.token_hex(8)}"
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._port = _free_port()
        self._databases = 0
        self._initialise()
        self._process = self._start()
        self.url = self.new_database()

    def new_database(self, encoding: str = "UTF8") -> str:
        """The URL of a new, empty database, password included."""
        self._databases += 1
        name = f"nas{self._databases}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        return f"postgresql+psycopg://{USER}:{self._password}@127.0.0.1:{self._port}/{name}"

    def stop(self) -> None:
        """End this server and remove its files."""
        self.halt()
        shutil.rmtree(self._folder)

    def halt(self, number: int = signal.SIGINT) -> None:
        """End the server, and keep its files. SIGINT is its "fast shutdown", which disconnects clients; after SIGKILL
        it recovers when it is started again."""
        self._process.send_signal(number)
        self._process.wait(timeout=30)

    def start_again(self) -> None:
        """Start the server that was halted, on the same port."""
        self._process = self._start()

    def _initialise(self) -> None:
        password_file = self._folder / "password"
        password_file.write_text(self._password)
        if self._account is not None:
            shutil.chown(self._folder, self._account)
            shutil.chown(password_file, self._account)
        options = [
            "--auth=scram-sha-256",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]
        subprocess.run(
            [self.binaries / "initdb", "-D", self._folder / "data", *options],
            check=True,
            capture_output=True,
            user=self._account,
            cwd=self._folder,
        )

    def _start(self) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": str(self._folder),
            "fsync": "off",
        }
        arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self._folder / "data", *arguments],
                stdout=log,
                stderr=log,
                user=self._account,
                cwd=self._folder,
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"PostgreSQL did not start: {(self._folder / 'log').read_text()}")
            time.sleep(0.05)
        return process

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=self._port,
            user=USER,
            password=self._password,
            dbname="postgres",
            connect_timeout=5,
            autocommit=True,
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
