"""Submissions, jobs, tokens and pages on both database systems."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

import db.tokens
from db.browse import Browser, TrialFilter
from db.engine import make_engine
from db.removal import remove_study
from db.service_tables import ensure_service_tables, version
from db.store import open_store
from db.submissions import Job, Submissions
from db.tables import latencies
from db.tokens import Tokens
from nas.errors import InvalidInputError
from tests.samples import TRIALS, latest_front, study_record

WHEN = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture(params=["sqlite_url", pytest.param("empty_postgres_url", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    url = request.getfixturevalue(request.param)
    store = open_store(url)
    store.create_study(study_record())
    store.create_study(study_record(name="other"))
    for trial in TRIALS:
        store.record("sample", trial, latest_front() if trial.trial_number == 7 else None)
        store.record("other", trial, None)
    store.close()
    engine = make_engine(url)
    ensure_service_tables(engine)
    ensure_service_tables(engine)
    yield engine
    engine.dispose()


def test_rows_are_compared_and_swapped(engine: Engine) -> None:
    submissions = Submissions(engine)
    assert submissions.add("s", "ada", {"budget": 3})
    assert not submissions.add("s", "bob", {"budget": 4})
    read = submissions.one("s")
    assert read is not None
    assert (read.owner, read.state, read.options) == ("ada", "queued", {"budget": 3})
    assert submissions.change(read, state="running", gpus={"0": 0.5})
    assert not submissions.change(read, state="stopped")
    assert not submissions.remove(read)
    [changed] = submissions.all("running")
    assert submissions.last_starts() == {}, "nothing was started"
    assert (changed.gpus, changed.revision) == ({"0": 0.5}, read.revision + 1)
    assert submissions.change(changed, started=WHEN)
    assert submissions.last_starts() == {"ada": WHEN}
    assert submissions.remove(replace(changed, revision=changed.revision + 1))
    assert submissions.all() == []
    job = Job("k", "export", "s", "ada", {"pick": "knee"}, "queued", None, None, datetime.now(UTC), None)
    submissions.add_job(job)
    assert submissions.jobs("queued") == [job]
    assert submissions.change_job(job, state="running")
    assert not submissions.change_job(job, state="failed")
    assert submissions.job("k") == replace(job, state="running")


def test_sessions_end_with_their_time_and_their_token(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(engine)
    assert not tokens.any()
    secret = tokens.add("ada", "user")
    found = tokens.find(secret)
    assert found is not None
    assert tokens.find(secret[:-1]) is None
    session = tokens.begin_session(found)
    assert tokens.find_session(session) == found
    assert tokens.find(session) is None, "a session is no token"
    monkeypatch.setattr(db.tokens, "SESSION", timedelta(seconds=-1))
    assert tokens.find_session(tokens.begin_session(found)) is None
    tokens.revoke("ada")
    assert (tokens.find(secret), tokens.find_session(session), tokens.any()) == (None, None, True)


def rows_of(browser: Browser, study_id: int, wanted: TrialFilter) -> list[int]:
    """Rows of trials in the wanted order."""
    return [rank.row for rank in sorted(browser.order(study_id, wanted))]


def test_pages_and_what_is_new(engine: Engine) -> None:
    browser = Browser(engine)
    outline = browser.outline("sample")
    assert outline is not None
    order = rows_of(browser, outline.id, TrialFilter(sort="top1", descending=True))
    assert ([row["trial_number"] for row in browser.trials(order[:3])], len(order)) == ([3, 2, 0], 8)
    failed = browser.trials(rows_of(browser, outline.id, TrialFilter(state="FAIL")))
    assert [row["trial_number"] for row in failed] == [5, 7]
    assert browser.order(outline.id, TrialFilter(mixer="%")) == []
    news = browser.trials_after(outline.id, 0, 100)
    assert [row["evaluated"] for row in news] == [1, 2, 3, 4, 5, 5, 5, 5]
    assert [row["evaluated"] for row in browser.trials_after(outline.id, news[3]["id"], 2)] == [5, 5]
    assert browser.counts(outline.id) == {"COMPLETE": 4, "PRUNED": 1, "FAIL": 2, "REJECTED": 1}
    assert (browser.evaluated("sample"), browser.best_top1(outline.id)) == (5, 0.85)
    stamp = browser.stamp(outline.id)
    assert (stamp.training_id, stamp.front_version) == (news[-1]["id"], latest_front().version)
    assert browser.stamp(outline.id, stamp) == stamp
    third = news[2]["id"]
    assert browser.counts(outline.id, third) == {"COMPLETE": 1, "PRUNED": 1, "FAIL": 2, "REJECTED": 1}
    assert browser.best_top1(outline.id, 0, third - 1) == max(row["top1"] for row in news[:2])
    assert browser.best_top1(outline.id, news[-1]["id"]) is None


def test_one_study_is_removed_and_the_other_stays_whole(engine: Engine) -> None:
    browser = Browser(engine)
    other = browser.outline("other")
    assert other is not None
    before = browser.trials(rows_of(browser, other.id, TrialFilter()))
    assert before
    remove_study(engine, "sample")
    assert browser.outline("sample") is None
    assert browser.trials(rows_of(browser, other.id, TrialFilter())) == before
    remove_study(engine, "other")
    with engine.begin() as connection:
        for table in ("trainings", "architectures", "latencies", "fronts", "front_members", "nas_studies"):
            assert connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) == 0, table


def test_another_version_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(version), {"version": "9"})
    with pytest.raises(InvalidInputError, match="version 9, this code knows 1"):
        ensure_service_tables(engine)


@pytest.mark.postgres
def test_a_row_that_is_committed_behind_a_later_one_is_seen(empty_postgres_url: str) -> None:
    with closing(open_store(empty_postgres_url)) as store:
        store.create_study(study_record())
        store.record("sample", TRIALS[0], None)
    engine = make_engine(empty_postgres_url)
    browser = Browser(engine)
    with engine.connect() as early, engine.connect() as late:
        row = early.execute(sa.select(latencies)).mappings().first()
        assert row is not None
        values = {name: value for name, value in row.items() if name != "id"}
        early.rollback()
        early.execute(sa.insert(latencies), values)
        late.execute(sa.insert(latencies), values)
        late.commit()
        before = browser.mark()
        assert browser.mark() == before, "nothing was committed in between"
        early.commit()
        assert browser.mark() != before
    engine.dispose()
