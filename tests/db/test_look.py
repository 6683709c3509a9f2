"""Databases of other programs, of other versions and no databases at all: one line each, and nothing is touched."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from db.engine import engine_kwargs, make_engine
from db.look import require_whole
from db.schema import SCHEMA_VERSION, VERSION_TABLE
from db.store import open_store
from nas.errors import InvalidInputError
from nas.search.study import open_optuna_storage, optuna_schema
from tests.contracts.store_contract import study_record

OPTUNA = optuna_schema()
BESIDE = [OPTUNA]
FOREIGN_VERSION = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
    "INSERT INTO alembic_version VALUES ('0123456789ab')",
    "CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name TEXT)",
)
STATEMENTS: dict[str, tuple[tuple[str, ...], str]] = {
    "another program's alembic_version": (FOREIGN_VERSION, "belongs to another program: its alembic_version says"),
    "an alembic_version of other columns": (("CREATE TABLE alembic_version (x INTEGER)",), "not Optuna's"),
    "a table named like one of ours": (("CREATE TABLE leases (id INTEGER, flat TEXT)",), "'leases' that is not this"),
    "the newest of ours without a version": (
        ("CREATE TABLE exports (id INTEGER, training_id INTEGER, name TEXT, path TEXT, exported TEXT)",),
        "there is no nas_alembic_version",
    ),
    "a view named like one of ours": (("CREATE VIEW fronts AS SELECT 1 AS x",), "'fronts' that is not this project's"),
    "an index named like one of ours": (
        ("CREATE TABLE papers (x INTEGER)", "CREATE INDEX ix_architectures_arch_hash ON papers (x)"),
        "'ix_architectures_arch_hash' that is not this project's",
    ),
    "a table named like one of Optuna's": (("CREATE TABLE trials (id INTEGER, verdict TEXT)",), "'trials' that is not"),
    "a version table of ours with other columns": ((f"CREATE TABLE {VERSION_TABLE} (x INTEGER)",), "not this project"),
    "two versions of ours": (
        (
            f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32))",
            f"INSERT INTO {VERSION_TABLE} VALUES ('{SCHEMA_VERSION}')",
            f"INSERT INTO {VERSION_TABLE} VALUES ('9999')",
        ),
        "has 2 versions in nas_alembic_version",
    ),
    "our version without our tables": (
        (
            f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32))",
            f"INSERT INTO {VERSION_TABLE} VALUES ('{SCHEMA_VERSION}')",
        ),
        "lacks the table 'architectures' of this project",
    ),
    "our version over tables of others": (
        (
            f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32))",
            f"INSERT INTO {VERSION_TABLE} VALUES ('{SCHEMA_VERSION}')",
            "CREATE TABLE fronts (id INTEGER)",
        ),
        "'fronts' that is not this project's, it lacks the column 'created'",
    ),
}
CHANGES: dict[str, tuple[str, str]] = {
    "a newer Optuna": ("UPDATE alembic_version SET version_num = 'v9.0.0.a'", "of version v9.0.0.a.*pip install -U"),
    "an older Optuna": (
        "UPDATE alembic_version SET version_num = 'v3.0.0.d'",
        "of version v3.0.0.d.*optuna storage upgrade --storage",
    ),
    "a newer version of ours": (f"UPDATE {VERSION_TABLE} SET version_num = '9999'", "of version 9999.*update it"),
    "a table of ours is gone": ("DROP TABLE exports", "lacks the table 'exports' of this project: restore a copy"),
    "a column of Optuna's is gone": ("ALTER TABLE trials RENAME COLUMN number TO no", "lacks the column 'number'"),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(url: str, expected: str, *, create: bool) -> None:
    with pytest.raises(InvalidInputError, match=expected) as caught:
        open_store(url, create=create, beside=BESIDE)
    message = str(caught.value)
    assert "\n" not in message and "pw-" not in message
    assert caught.value.exit_code == 2


def make(file: Path, statements: tuple[str, ...], journal: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def make_whole(url: str) -> None:
    """What a search leaves: our tables with a study, and Optuna's."""
    with closing(open_store(url)) as store:
        store.create_study(study_record())
    open_optuna_storage(url, engine_kwargs(url)).engine.dispose()


@pytest.mark.parametrize("create", [True, False], ids=["search", "status"])
@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize(("statements", "expected"), STATEMENTS.values(), ids=STATEMENTS)
def test_a_file_of_another_program_is_refused_and_untouched(
    tmp_path: Path, statements: tuple[str, ...], expected: str, journal: str, create: bool
) -> None:
    make(tmp_path / "m.db", statements, journal)
    before = contents(tmp_path)
    assert_refused(f"sqlite:///{tmp_path}/m.db", expected, create=create)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("create", [True, False], ids=["search", "status"])
@pytest.mark.parametrize(("statement", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_file_of_another_version_is_refused_and_untouched(
    tmp_path: Path, statement: str, expected: str, create: bool
) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    make_whole(url)
    with closing(sqlite3.connect(tmp_path / "nas.db")) as connection:
        connection.execute(statement)
        connection.commit()
    before = contents(tmp_path)
    assert_refused(url, expected, create=create)
    assert contents(tmp_path) == before


@pytest.mark.postgres
@pytest.mark.parametrize("create", [True, False], ids=["search", "status"])
@pytest.mark.parametrize(("statements", "expected"), STATEMENTS.values(), ids=STATEMENTS)
def test_a_schema_of_another_program_is_refused_and_untouched(
    empty_postgres_url: str, statements: tuple[str, ...], expected: str, create: bool
) -> None:
    before = run_on(empty_postgres_url, *statements)
    assert_refused(empty_postgres_url, expected, create=create)
    assert run_on(empty_postgres_url) == before
    # The same where our tables would go elsewhere, and our statements would still find these.
    run_on(empty_postgres_url, "CREATE SCHEMA mine")
    assert_refused(f"{empty_postgres_url}?options=-csearch_path%3Dmine,public", expected, create=create)
    assert run_on(empty_postgres_url) == before


@pytest.mark.postgres
@pytest.mark.parametrize(("statement", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_schema_of_another_version_is_refused_and_untouched(
    empty_postgres_url: str, statement: str, expected: str
) -> None:
    make_whole(empty_postgres_url)
    before = run_on(empty_postgres_url, statement)
    for create in (True, False):
        assert_refused(empty_postgres_url, expected, create=create)
    assert run_on(empty_postgres_url) == before


def run_on(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run statements; every column of every table after it."""
    engine = make_engine(url)
    everything = (
        "SELECT table_schema, table_name, column_name FROM information_schema.columns "
        "WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2, 3"
    )
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        found = [tuple(row) for row in connection.exec_driver_sql(everything)]
    engine.dispose()
    return found


@pytest.mark.postgres
def test_a_user_who_may_only_read_reads(empty_postgres_url: str) -> None:
    make_whole(empty_postgres_url)
    url = f"{empty_postgres_url}?options=-cdefault_transaction_read_only%3Don"
    with closing(open_store(url, create=False, beside=BESIDE)) as store:
        assert store.study("study") == study_record()
        with pytest.raises(InvalidInputError, match="rights here do not suffice"):
            store.create_study(study_record("other"))
    open_optuna_storage(url, engine_kwargs(url), create=False).engine.dispose()


def broken_files(folder: Path) -> Iterator[tuple[str, Path, str]]:
    """(what it is, the file, what is said of it)"""
    whole = folder / "whole.db"
    make(whole, ("CREATE TABLE t (x)", "INSERT INTO t VALUES (1)"), "delete")
    whole_bytes = whole.read_bytes()
    contents = {
        "text": (b"no database, but longer than a header\n" * 100, "another kind, or an encrypted one"),
        "one byte": (b"S", "another kind, or an encrypted one"),
        "encrypted": (os.urandom(8192), "another kind, or an encrypted one"),
        "half a header": (whole_bytes[:50], "another kind|malformed"),
        "cut off": (whole_bytes[:4096], "malformed"),
        "overwritten": (whole_bytes[:100] + b"\xff" * (len(whole_bytes) - 100), "malformed"),
    }
    whole.unlink()
    for name, (content, expected) in contents.items():
        file = folder / f"{name}.db"
        file.write_bytes(content)
        yield name, file, expected
    (folder / "folder.db").mkdir()
    yield "a folder", folder / "folder.db", "is no file"
    os.mkfifo(folder / "pipe.db")
    yield "a pipe", folder / "pipe.db", "is no file"
    yield "a long name", folder / ("x" * 300), "cannot be read"
    yield "below a file", folder / "text.db" / "nas.db", "there is no database|cannot make the folder"


@pytest.mark.parametrize("create", [True, False], ids=["search", "status"])
def test_what_is_no_database_is_refused_and_untouched(tmp_path: Path, create: bool) -> None:
    for name, file, expected in list(broken_files(tmp_path)):
        before = contents(tmp_path)
        assert_refused(f"sqlite:///{file}", expected, create=create)
        assert contents(tmp_path) == before, name


def test_a_foreign_file_that_a_killed_process_left_is_untouched(tmp_path: Path) -> None:
    """Its last transactions stand in the log beside it."""
    live = tmp_path / "live"
    live.mkdir()
    connection = sqlite3.connect(live / "m.db")
    connection.execute("PRAGMA journal_mode=WAL")
    for statement in FOREIGN_VERSION:
        connection.execute(statement)
    connection.commit()
    for names in (("m.db", "m.db-wal"), ("m.db", "m.db-wal", "m.db-shm")):
        copy = tmp_path / f"copy{len(names)}"
        copy.mkdir()
        for name in names:
            shutil.copy(live / name, copy / name)
        before = contents(copy)
        for create in (True, False):
            assert_refused(f"sqlite:///{copy}/m.db", "belongs to another program", create=create)
        assert contents(copy) == before
    before = contents(live)
    assert_refused(f"sqlite:///{live}/m.db", "belongs to another program", create=True)
    after = contents(live)
    assert [after[name] for name in ("m.db", "m.db-wal")] == [before[name] for name in ("m.db", "m.db-wal")]
    connection.close()


def test_tables_of_others_beside_ours_are_left_alone(tmp_path: Path) -> None:
    make(tmp_path / "m.db", ("CREATE TABLE theirs (x)",), "delete")
    make_whole(f"sqlite:///{tmp_path}/m.db")
    open_store(f"sqlite:///{tmp_path}/m.db", beside=BESIDE).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "m.db")) as connection:
        assert connection.execute("SELECT count(*) FROM theirs").fetchall() == [(0,)]


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    (tmp_path / "nas.db").touch()
    assert_refused(f"sqlite:///{tmp_path}/nas.db", "holds no study", create=False)
    assert (tmp_path / "nas.db").read_bytes() == b""
    open_store(f"sqlite:///{tmp_path}/nas.db", beside=BESIDE).close()


@pytest.mark.parametrize("left", [(), ("studies", "trials"), ("alembic_version",)], ids=["none", "some", "version"])
def test_optunas_tables_are_completed_before_the_first_study_and_never_after(
    sqlite_url: str, left: tuple[str, ...]
) -> None:
    """A kill may come while Optuna makes them; later they are lost, and the trials with them."""
    drop_optunas(sqlite_url, left)
    open_store(sqlite_url, beside=BESIDE).close()
    open_optuna_storage(sqlite_url, engine_kwargs(sqlite_url)).engine.dispose()
    require_whole(sqlite_url, OPTUNA)
    with closing(open_store(sqlite_url, beside=BESIDE)) as store:
        store.create_study(study_record())
    drop_optunas(sqlite_url, left)
    assert_refused(sqlite_url, "lacks the table 'stud.*' of Optuna: restore a copy", create=True)
    with pytest.raises(InvalidInputError, match="of Optuna: restore a copy"):
        require_whole(sqlite_url, OPTUNA)
    with closing(open_store(sqlite_url, create=False, beside=BESIDE)) as store:
        assert store.study("study") == study_record(), "what needs no trials of Optuna's still works"


def drop_optunas(url: str, left: tuple[str, ...]) -> None:
    with closing(open_store(url)):
        open_optuna_storage(url, engine_kwargs(url)).engine.dispose()
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        for table in {*OPTUNA.columns, "alembic_version"} - set(left):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        if "alembic_version" in left:
            connection.exec_driver_sql("DELETE FROM alembic_version")
    engine.dispose()
