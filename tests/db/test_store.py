import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from db.engine import engine_kwargs
from db.lease import take_lease
from db.store import SqlStore, open_store
from db.tables import front_members, fronts, metadata, trainings
from nas.errors import InvalidInputError, StudyLockedError
from nas.pareto.front import FrontKeeper
from nas.processes import is_dead
from nas.search.study import open_optuna_storage
from tests.contracts.store_contract import (
    REFERENCE,
    StoreContract,
    complete_trial,
    dead_process,
    lease_of,
    live_process,
    study_record,
)

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def store(self, sqlite_store: SqlStore) -> SqlStore:
        return sqlite_store


@pytest.fixture(scope="module")
def postgres_store(postgres_server: "PostgresServer") -> Iterator[SqlStore]:
    store = open_store(postgres_server.new_database())
    yield store
    store.close()


@pytest.mark.postgres
class TestPostgresStore(StoreContract):
    @pytest.fixture
    def store(self, postgres_store: SqlStore) -> SqlStore:
        with postgres_store._writer.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(sa.delete(table))
        return SqlStore(postgres_store._engine)


@pytest.fixture
def searched(sqlite_store: SqlStore) -> SqlStore:
    """Six trials, four of which changed the front."""
    sqlite_store.create_study(study_record())
    keeper = FrontKeeper("latency_ms", REFERENCE)
    for number, (top1, median_ms) in enumerate(
        [(0.5, 20.0), (0.4, 30.0), (0.3, 10.0), (0.7, 20.0), (0.7, 20.0), (0.1, 40.0)]
    ):
        facts = complete_trial(number, top1, median_ms)
        sqlite_store.record("study", facts, keeper.add(facts))
    return sqlite_store


def tamper(store: SqlStore, statement: sa.Update | sa.Delete) -> None:
    with store._writer.begin() as connection:
        assert connection.execute(statement).rowcount > 0


def test_fronts_that_equal_the_facts_have_no_faults(searched: SqlStore) -> None:
    assert searched.check_fronts("study") == []


def test_a_study_without_trials_has_no_faults(sqlite_store: SqlStore) -> None:
    sqlite_store.create_study(study_record())
    assert sqlite_store.check_fronts("study") == []


def test_check_finds_changed_facts(searched: SqlStore) -> None:
    tamper(searched, sa.update(trainings).where(trainings.c.trial_number == 2).values(top1=0.9))
    assert searched.check_fronts("study") == [
        f"front {version}: trial 2 differs from its recorded facts" for version in (2, 3, 4)
    ]


def test_check_finds_a_missing_member(searched: SqlStore) -> None:
    tamper(searched, sa.delete(front_members).where(front_members.c.front_id == 4, front_members.c.position == 0))
    [fault] = searched.check_fronts("study")
    assert fault.startswith("front 4 lacks FrontMember(trial_number=2")


def test_check_finds_a_changed_member_and_names_both_sides(searched: SqlStore) -> None:
    tamper(
        searched,
        sa.update(front_members).where(front_members.c.front_id == 4, front_members.c.position == 0).values(cost=9.0),
    )
    faults = searched.check_fronts("study")
    assert [fault.split("(")[0] for fault in faults[:2]] == ["front 4 lacks FrontMember", "front 4 has FrontMember"]
    assert faults[2] == "front 4: trial 2 differs from its recorded facts"


def test_check_finds_a_wrong_hypervolume_and_reference_point(searched: SqlStore) -> None:
    tamper(searched, sa.update(fronts).where(fronts.c.version == 4).values(hypervolume=0.5, reference_top1=0.2))
    reference, volume = searched.check_fronts("study")
    assert "has reference point (0.2, 100.0), the study (0.1, 100.0)" in reference
    assert "has hypervolume 0.5, its members" in volume


def test_check_finds_members_out_of_order(searched: SqlStore) -> None:
    member = front_members.c.front_id == 4
    for position, other in [(0, 9), (1, 0), (9, 1)]:
        tamper(
            searched,
            sa.update(front_members).where(member, front_members.c.position == position).values(position=other),
        )
    assert searched.check_fronts("study") == ["the members of front 4 are not ordered by cost"]


def test_check_finds_lost_fronts(sqlite_store: SqlStore) -> None:
    sqlite_store.create_study(study_record())
    sqlite_store.record("study", complete_trial(0), None)
    assert sqlite_store.check_fronts("study") == ["no front is recorded, but 1 trials are not dominated"]


def test_check_finds_latencies_of_two_targets(sqlite_store: SqlStore) -> None:
    sqlite_store.create_study(study_record())
    keeper = FrontKeeper("latency_ms", REFERENCE)
    one = complete_trial(0)
    two = complete_trial(1, 0.6, 20.0)
    assert two.latency is not None
    for facts in (one, replace(two, latency=replace(two.latency, target={"kind": "cuda"}))):
        sqlite_store.record("study", facts, keeper.add(facts))
    assert sqlite_store.check_fronts("study") == ["latencies of 2 different targets stand in one study"]


def test_a_trial_of_known_architecture_adds_no_architecture_row(sqlite_store: SqlStore) -> None:
    sqlite_store.create_study(study_record())
    for number in range(3):
        sqlite_store.record("study", replace(complete_trial(0), trial_number=number), None)
    with sqlite_store._reader.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM architectures")) == 1


def test_the_owner_of_a_study_can_be_asked_for(sqlite_store: SqlStore) -> None:
    assert sqlite_store.lease("study") is None
    owner = replace(lease_of(live_process(), age_s=3600.0), ray_session="session")
    sqlite_store.acquire_lease("study", owner)
    assert sqlite_store.lease("study") == owner
    elsewhere = lease_of(dead_process(), host="there")
    sqlite_store.acquire_lease("another study", elsewhere)
    assert sqlite_store.lease("another study") == elsewhere


def test_a_dead_owner_on_this_host_owns_nothing(sqlite_store: SqlStore) -> None:
    sqlite_store.acquire_lease("study", lease_of(dead_process()))
    assert sqlite_store.lease("study") is None


def test_rows_that_a_front_rests_on_cannot_be_removed(searched: SqlStore) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        tamper(searched, sa.delete(trainings).where(trainings.c.trial_number == 0))


def someone_waits_for_a_lock(store: SqlStore) -> bool:
    with store._reader.begin() as connection:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return connection.exec_driver_sql(waiting).scalar() != 0


@pytest.mark.postgres
def test_the_loser_of_a_race_for_a_free_study_is_told_the_winner(postgres_store: SqlStore) -> None:
    """The winner has inserted and not yet committed: the loser sees no owner, waits at its own insert, and must look
    again."""
    winner = replace(lease_of(live_process()), ray_session="winner", token="winner")
    refusals = []

    def lose() -> None:
        try:
            postgres_store.acquire_lease("raced", lease_of(live_process()))
        except StudyLockedError as error:
            refusals.append(str(error))

    loser = threading.Thread(target=lose)
    with postgres_store._writer.begin() as connection:
        take_lease(connection, "raced", winner, None, is_dead)
        loser.start()
        while not someone_waits_for_a_lock(postgres_store):
            pass
    loser.join()
    assert [f"process {winner.process.pid} on host here" in refusal for refusal in refusals] == [True]


def read_while_writing(url: str) -> int:
    """How many trials a reader sees in its second look, when one is recorded after its first."""
    writer = open_store(url)
    reader = open_store(url)
    writer.create_study(study_record())
    with reader._reader.begin() as connection:
        connection.execute(sa.select(fronts)).all()
        writer.record("study", complete_trial(0), None)
        seen = len(connection.execute(sa.select(trainings)).all())
    writer.close()
    reader.close()
    return seen


def test_one_reading_sees_one_moment(sqlite_url: str) -> None:
    assert read_while_writing(sqlite_url) == 0


@pytest.mark.postgres
def test_one_reading_sees_one_moment_on_postgres(empty_postgres_url: str) -> None:
    assert read_while_writing(empty_postgres_url) == 0


@pytest.mark.postgres
def test_a_database_that_lacks_letters_is_refused_as_a_whole(postgres_server: "PostgresServer") -> None:
    url = postgres_server.new_database("LATIN1")
    with pytest.raises(InvalidInputError, match=r"holds texts in LATIN1; expected UTF8: make another with CREATE"):
        open_store(url)
    engine = sa.create_engine(url)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize(("encoding", "client"), [("SQL_ASCII", "SQL_ASCII"), ("UTF8", "LATIN1")])
def test_every_letter_comes_back_whatever_the_encodings(
    postgres_server: "PostgresServer", monkeypatch: pytest.MonkeyPatch, encoding: str, client: str
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", client)
    url = postgres_server.new_database(encoding)
    with contextlib.closing(open_store(url)) as store:
        store.create_study(study_record("größer-数"))
        assert [study.name for study in store.studies()] == ["größer-数"]
    storage = open_optuna_storage(url, engine_kwargs(url))
    assert storage.get_all_studies() == []
    storage.engine.dispose()
