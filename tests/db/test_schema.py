from pathlib import Path

import alembic.command
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from optuna.storages._rdb import models as optuna_tables

import db.schema
from db.engine import make_engine, writing
from db.schema import FORGOTTEN_VERSIONS, SCHEMA_VERSION, VERSION_TABLE, alembic_config, ensure_schema
from db.store import open_store
from db.tables import metadata
from nas.errors import InvalidInputError, NasError
from tests.contracts.store_contract import complete_trial, study_record

UPGRADE = """
import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "{before}"


def upgrade() -> None:
    with op.batch_alter_table("exports") as exports:
        exports.add_column(sa.Column("format", sa.Text))
    {last}
"""


def describe(engine: sa.Engine) -> dict[str, object]:
    """Every table of ours as the database itself reports it."""
    inspector = sa.inspect(engine)
    return {
        name: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(name)],
            inspector.get_pk_constraint(name),
            sorted(
                (str(key["name"]), key["constrained_columns"], key["referred_table"])
                for key in inspector.get_foreign_keys(name)
            ),
            sorted((str(key["name"]), key["column_names"]) for key in inspector.get_unique_constraints(name)),
            sorted((str(index["name"]), index["column_names"]) for index in inspector.get_indexes(name)),
        )
        for name in inspector.get_table_names()
        if name != VERSION_TABLE
    }


def assert_migrations_give_the_tables(migrated: sa.Engine, created: sa.Engine) -> None:
    ensure_schema(migrated)
    metadata.create_all(created)
    assert describe(migrated) == describe(created)
    with migrated.connect() as connection:
        ours = {"version_table": VERSION_TABLE, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=ours), metadata) == []
    migrated.dispose()
    created.dispose()


def test_migrations_give_the_tables(tmp_path: Path) -> None:
    assert_migrations_give_the_tables(
        make_engine(f"sqlite:///{tmp_path / 'a.db'}"), make_engine(f"sqlite:///{tmp_path / 'b.db'}")
    )


@pytest.mark.postgres
def test_migrations_give_the_tables_on_postgres(postgres_server) -> None:
    assert_migrations_give_the_tables(
        make_engine(postgres_server.new_database()), make_engine(postgres_server.new_database())
    )


def test_no_table_has_a_name_of_optunas() -> None:
    assert not (metadata.tables.keys() | {VERSION_TABLE}) & (
        optuna_tables.BaseModel.metadata.tables.keys() | {"alembic_version"}
    )


def test_the_newest_migration_is_the_version_of_the_code() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        assert ScriptDirectory.from_config(alembic_config(connection)).get_heads() == [SCHEMA_VERSION]
    engine.dispose()


def test_opening_a_current_database_needs_no_write_lock(sqlite_url: str) -> None:
    open_store(sqlite_url).close()
    other = make_engine(sqlite_url)
    with writing(other).begin():
        open_store(sqlite_url).close()
    other.dispose()


def test_a_newer_database_is_refused_and_untouched(sqlite_url: str) -> None:
    open_store(sqlite_url).close()
    engine = make_engine(sqlite_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    for create in (True, False):
        with pytest.raises(InvalidInputError, match=rf"version 9999, this code knows {SCHEMA_VERSION}: update"):
            open_store(sqlite_url, create=create)
    with engine.begin() as connection:
        assert db.schema.schema_version(connection) == "9999"
    engine.dispose()


def make_older(engine: sa.Engine, version: str) -> None:
    """What the database of an earlier revision is known by, and a study in it."""
    with engine.begin() as connection:
        for statement in (
            f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL)",
            f"INSERT INTO {VERSION_TABLE} VALUES ('{version}')",
            "CREATE TABLE searches (id INTEGER PRIMARY KEY, study VARCHAR(512))",
            "INSERT INTO searches VALUES (1, 'study')",
        ):
            connection.exec_driver_sql(statement)


@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize("version", FORGOTTEN_VERSIONS)
def test_a_database_of_before_0_1_0_is_refused_and_untouched(tmp_path: Path, version: str, journal: str) -> None:
    file = tmp_path / "old.db"
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA journal_mode={journal}")
    make_older(engine, version)
    engine.dispose()
    before = file.read_bytes()
    for create in (True, False):
        with pytest.raises(InvalidInputError, match=r"old\.db was written before version 0\.1\.0.*--storage"):
            open_store(f"sqlite:///{file}", create=create)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.postgres
def test_a_postgres_database_of_before_0_1_0_is_refused_and_untouched(empty_postgres_url: str) -> None:
    engine = make_engine(empty_postgres_url)
    make_older(engine, FORGOTTEN_VERSIONS[-1])
    for create in (True, False):
        with pytest.raises(InvalidInputError, match=r"was written before version 0\.1\.0.*--storage"):
            open_store(empty_postgres_url, create=create)
    assert sorted(sa.inspect(engine).get_table_names()) == [VERSION_TABLE, "searches"]
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT study FROM searches").all() == [("study",)]
    engine.dispose()


def test_a_newer_file_keeps_its_journal_mode(tmp_path: Path) -> None:
    file = tmp_path / "new.db"
    engine = sa.create_engine(f"sqlite:///{file}")
    make_older(engine, "9999")
    engine.dispose()
    before = file.read_bytes()
    with pytest.raises(InvalidInputError, match="version 9999"):
        open_store(f"sqlite:///{file}")
    assert file.read_bytes() == before


def add_migration(folder: Path, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    """Give the code a further version, which only this test knows."""
    (folder / "next_more.py").write_text(UPGRADE.format(before=SCHEMA_VERSION, last=last))

    def with_more(connection: sa.Connection) -> Config:
        config = alembic_config(connection)
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", f"db:migrations/versions\n{folder}")
        return config

    monkeypatch.setattr(db.schema, "alembic_config", with_more)
    monkeypatch.setattr(db.schema, "SCHEMA_VERSION", "next")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def older_url(request: pytest.FixtureRequest) -> str:
    """A database of this code's version, with one trial."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "empty_postgres_url")
    store = open_store(url)
    store.create_study(study_record())
    store.record("study", complete_trial(0), None)
    store.record_export("study", 0, "winner", "zoo/winner")
    store.close()
    return url


def test_an_older_database_is_upgraded_with_its_facts(
    older_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_migration(tmp_path, monkeypatch, last="pass")
    store = open_store(older_url, create=False)
    assert list(store.facts("study")) == [complete_trial(0)]
    with store._reader.begin() as connection:
        assert connection.exec_driver_sql("SELECT name, format FROM exports").all() == [("winner", None)]
        assert db.schema.schema_version(connection) == "next"
    store.close()


def test_an_upgrade_that_fails_changes_nothing(older_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_migration(tmp_path, monkeypatch, last='op.execute("INSERT INTO missing VALUES (1)")')
    with pytest.raises(NasError, match="missing"):
        open_store(older_url)
    engine = make_engine(older_url)
    assert "format" not in [column["name"] for column in sa.inspect(engine).get_columns("exports")]
    with engine.begin() as connection:
        assert db.schema.schema_version(connection) == SCHEMA_VERSION
    engine.dispose()
    monkeypatch.undo()
    open_store(older_url).close()


def test_a_current_database_opens_without_alembic(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(sqlite_url).close()
    monkeypatch.setattr(alembic.command, "upgrade", None)
    monkeypatch.setattr(db.schema, "alembic_config", None)
    open_store(sqlite_url).close()
