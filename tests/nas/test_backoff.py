"""Waiting for what comes back."""

import time
from collections.abc import Callable

import pytest

from nas import backoff
from nas.backoff import NO_WAITING, Backoff
from nas.errors import NasError, StudyLockedError, UnavailableError


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(backoff, "LONGEST_PAUSE_S", 0.01)


def failing(times: int) -> Callable[[], str]:
    left = iter(range(times))

    def call() -> str:
        if next(left, None) is not None:
            raise UnavailableError("the database is away")
        return "done"

    return call


def test_what_comes_back_is_waited_for_and_said_once() -> None:
    said: list[str] = []
    assert Backoff(60, said.append).until_done(failing(5)) == "done"
    assert said[0] == "the database is away; waiting for up to 60 s, trainings go on"
    assert said[1].startswith("the wait is over after ")
    assert len(said) == 2


def test_what_does_not_come_back_is_given_up_and_then_tried_once() -> None:
    waiting = Backoff(0.05)
    with pytest.raises(NasError, match=r"away; given up after 0\.05 s \(--storage-timeout-s\).*the same command"):
        waiting.until_done(failing(1000))
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        waiting.until_done(failing(1))
    assert time.monotonic() - began < 0.05


def test_who_waits_for_nothing_fails_at_once() -> None:
    with pytest.raises(UnavailableError):
        NO_WAITING.until_done(failing(1))


def test_other_failures_are_not_waited_for() -> None:
    def fail() -> None:
        raise NasError("broken")

    with pytest.raises(NasError, match=r"^broken$"):
        Backoff(60).until_done(fail)


def test_after_an_outage_the_owner_is_looked_for_first() -> None:
    def lost() -> None:
        raise StudyLockedError("another process owns it now")

    waiting = Backoff(60)
    waiting.check_owner = lost
    with pytest.raises(StudyLockedError):
        waiting.until_done(failing(1))


def test_the_user_need_not_wait() -> None:
    waiting = Backoff(60)
    waiting.stop_requested = lambda: True
    with pytest.raises(KeyboardInterrupt):
        waiting.until_done(failing(1000))
    with pytest.raises(UnavailableError):
        waiting.until_done(failing(1))
