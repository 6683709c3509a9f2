import contextlib
import importlib.util
import socket
import sqlite3
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa

from db.engine import engine_kwargs, make_engine, redact_url
from db.errors import translated_errors
from db.store import open_store
from nas.errors import InvalidInputError, NasError, UnavailableError
from tests.contracts.store_contract import complete_trial, study_record

SECRET = "s3cret"


def refusal(url: str, *, create: bool = True) -> str:
    """The message with which a URL is refused, which is one line and has no password anywhere, traceback included."""
    with pytest.raises(InvalidInputError) as caught:
        open_store(url, create=create)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("postgresql+psycopg://ada:s3cret@host:5432/nas", "postgresql+psycopg://ada:***@host:5432/nas"),
        ("postgresql+psycopg://ada:s3cret@x@host/nas", "postgresql+psycopg://ada:***@host/nas"),
        ("postgresql+psycopg://ada:s3c/s3cret:x@host/nas", "postgresql+psycopg://ada:***@host/nas"),
        ("postgresql+psycopg://:s3cret@host/nas", "postgresql+psycopg://:***@host/nas"),
        (
            "postgresql+psycopg://host/nas?user=ada&password=s3cret&sslmode=require",
            "postgresql+psycopg://host/nas?user=ada&password=***&sslmode=require",
        ),
        ("mysql://ada:s3cret@host/nas", "mysql://ada:***@host/nas"),
        ("postgresql+psycopg://ada@host/nas", "postgresql+psycopg://ada@host/nas"),
        ("sqlite:////home/a:b@c/nas.db", "sqlite:////home/a:b@c/nas.db"),
        ("sqlite://ada:s3cret@host/nas.db", "sqlite://ada:***@host/nas.db"),
        ("sqlite+aiosqlite://:s3cret@@/nas.db", "sqlite+aiosqlite://:***@/nas.db"),
        ("no url", "no url"),
    ],
)
def test_redacted_urls_have_no_password(url: str, redacted: str) -> None:
    assert redact_url(url) == redacted


@pytest.mark.parametrize("name", ["password", "sslpassword"])
def test_a_server_that_does_not_answer_gives_no_password_of_its_query_away(name: str) -> None:
    pytest.importorskip("psycopg")
    said = refusal(f"postgresql+psycopg://ada@127.0.0.1:1/nas?{name}={SECRET}")
    assert f"nas?{name}=*** does not answer" in said


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nas.db", "cannot read the storage URL nas.db: expected sqlite:///FILE or postgresql"),
        ("", "cannot read the storage URL"),
        ("postgresql+psycopg://ada:s3cret@host:port/nas", "cannot read the storage URL"),
        ("postgresql+psycopg://ada:s3cret@s3cret@host/nas", "%40"),
        ("mysql+pymysql://ada:s3cret@host/nas", "names 'mysql+pymysql': expected"),
        ("postgresql+asyncpg://ada:s3cret@host/nas", "names 'postgresql+asyncpg': expected"),
        ("sqlite://", "names no plain file"),
        ("sqlite:///:memory:", "names no plain file"),
        ("sqlite:///nas.db?mode=ro", "names no plain file"),
        ("sqlite://host/nas.db", "names no plain file"),
    ],
)
def test_unusable_urls_are_refused_before_connecting(url: str, expected: str) -> None:
    assert expected in refusal(url)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_postgres_without_its_driver_names_the_extra(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "extra `postgres`" in refusal(f"{scheme}://ada:{SECRET}@127.0.0.1/nas")


def test_reading_a_missing_database_leaves_nothing_behind(tmp_path: Path) -> None:
    assert "there is no database" in refusal(f"sqlite:///{tmp_path / 'runs' / 'nas.db'}", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("statement", ["CREATE TABLE theirs (x)", "SELECT 1"], ids=["tables", "empty"])
def test_reading_leaves_a_foreign_file_as_it_is(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.close()
    path.touch()
    before = path.read_bytes()
    assert "holds no study" in refusal(f"sqlite:///{path}", create=False)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["other.db"]


def test_the_folder_of_a_new_database_is_made(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path / 'a' / 'b' / 'nas.db'}").close()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["nas.db"]
    open_store(f"sqlite:///{tmp_path / 'a' / 'b' / 'nas.db'}", create=False).close()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot make the folder" in refusal(f"sqlite:///{tmp_path / 'file' / 'runs' / 'nas.db'}")


def test_a_folder_that_cannot_be_written_is_refused() -> None:
    assert "you may write" in refusal("sqlite:////proc/nas.db")


def test_a_folder_is_not_a_database(tmp_path: Path) -> None:
    assert "cannot use the database" in refusal(f"sqlite:///{tmp_path}")


def test_another_file_is_not_a_database_and_stays_as_it_is(tmp_path: Path) -> None:
    text = "no database, but longer than the header of one\n" * 100
    (tmp_path / "notes.txt").write_text(text)
    assert "another kind" in refusal(f"sqlite:///{tmp_path / 'notes.txt'}")
    assert (tmp_path / "notes.txt").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_sqlite_is_in_wal_mode_for_us_and_for_optuna(sqlite_url: str) -> None:
    engines = [make_engine(sqlite_url), sa.create_engine(sqlite_url, **engine_kwargs(sqlite_url))]
    for engine in engines:
        with engine.connect() as connection:
            settings = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "busy_timeout")
            ]
        assert settings == ["wal", 1, 30_000]
        engine.dispose()


def test_wal_mode_is_entered_as_soon_as_the_file_is_free(sqlite_url: str) -> None:
    """SQLite itself would not wait here, but say at once that the file is locked."""
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE something (id)")
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.1, other.execute, ["COMMIT"])
    release.start()
    open_store(sqlite_url).close()
    release.join()
    other.close()
    with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as fresh:
        assert fresh.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_optuna_and_we_share_one_file(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    storage = optuna.storages.RDBStorage(sqlite_url, engine_kwargs=engine_kwargs(sqlite_url))
    study = optuna.create_study(storage=storage, study_name="study", directions=["maximize", "minimize"])
    store.create_study(study_record())
    for number in range(3):
        trial = study.ask({"depth": optuna.distributions.IntDistribution(1, 4)})
        store.record("study", complete_trial(number), None)
        study.tell(trial, [0.5, 10.0])
    store.close()
    open_store(sqlite_url).close()  # our migrations leave Optuna's tables alone
    reopened = optuna.storages.RDBStorage(sqlite_url, engine_kwargs=engine_kwargs(sqlite_url))
    trials = optuna.load_study(study_name="study", storage=reopened).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    storage.engine.dispose()
    reopened.engine.dispose()


@pytest.mark.postgres
def test_optuna_and_we_share_one_postgres_database(empty_postgres_url: str) -> None:
    storage = optuna.storages.RDBStorage(empty_postgres_url, engine_kwargs=engine_kwargs(empty_postgres_url))
    study = optuna.create_study(storage=storage, study_name="study", directions=["maximize", "minimize"])
    store = open_store(empty_postgres_url)
    store.create_study(study_record())
    trial = study.ask({"depth": optuna.distributions.IntDistribution(1, 4)})
    store.record("study", complete_trial(0), None)
    study.tell(trial, [0.5, 10.0])
    assert len(list(store.facts("study"))) == len(study.trials) == 1
    store.close()
    storage.engine.dispose()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose server takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_closed_port_is_named(silent_port: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    message = refusal(f"postgresql+psycopg://ada:{SECRET}@127.0.0.1:{closed}/nas")
    assert f"postgresql+psycopg://ada:***@127.0.0.1:{closed}/nas does not answer" in message
    assert "refused" in message
    with pytest.raises(UnavailableError):  # a server that is away for a while looks alike
        open_store(f"postgresql+psycopg://ada:{SECRET}@127.0.0.1:{closed}/nas")


def test_a_silent_server_is_given_up(silent_port: int) -> None:
    assert "does not answer" in refusal(
        f"postgresql+psycopg://ada:{SECRET}@127.0.0.1:{silent_port}/nas?connect_timeout=2"
    )


def test_connections_give_up_after_seconds_unless_the_url_says_otherwise() -> None:
    default = engine_kwargs("postgresql+psycopg://ada@host/nas")["connect_args"]
    assert (default["connect_timeout"], default["tcp_user_timeout"]) == (5, 30_000)
    given = engine_kwargs("postgresql+psycopg://ada@host/nas?connect_timeout=60")["connect_args"]
    assert given == {name: value for name, value in default.items() if name != "connect_timeout"}


@pytest.mark.postgres
def test_wrong_passwords_and_databases_are_named(postgres_url: str) -> None:
    url = sa.make_url(postgres_url)
    wrong = url.set(password=SECRET).render_as_string(hide_password=False)
    assert "password authentication failed" in refusal(wrong)
    missing = refusal(url.set(database="missing").render_as_string(hide_password=False))
    assert 'database "missing" does not exist' in missing
    assert str(url.password) not in missing


@pytest.mark.postgres
def test_reading_a_postgres_database_without_studies_makes_no_tables(empty_postgres_url: str) -> None:
    assert "holds no study" in refusal(empty_postgres_url, create=False)
    engine = make_engine(empty_postgres_url)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()


@pytest.mark.postgres
def test_plain_postgresql_means_psycopg(empty_postgres_url: str) -> None:
    open_store(empty_postgres_url.replace("postgresql+psycopg", "postgresql")).close()


@pytest.mark.postgres
def test_a_connection_that_broke_is_replaced(empty_postgres_url: str) -> None:
    store = open_store(empty_postgres_url)
    other = make_engine(empty_postgres_url)
    with other.connect() as connection:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        assert connection.exec_driver_sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
        ).all() == [(True,)]
    store.create_study(study_record())
    store.close()
    other.dispose()


def test_driver_messages_lose_the_password() -> None:
    url = sa.make_url(f"postgresql+psycopg://ada:{SECRET}@host/nas")
    quoting = sa.exc.OperationalError("SELECT 1", None, Exception(f"bad conninfo\npassword={SECRET}"))
    with pytest.raises(NasError) as caught, translated_errors(url):
        raise quoting
    assert str(caught.value) == "the database postgresql+psycopg://ada:***@host/nas failed: bad conninfo password=***"
