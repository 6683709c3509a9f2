"""Owning a study: its lease, the heartbeat, and the end of what a dead owner left behind (DESIGN 2.1)."""

import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

from nas.backoff import NO_WAITING, Backoff
from nas.errors import NasError, UnavailableError
from nas.processes import current_process, is_hidden, machine
from nas.protocols import Leases
from nas.records import Lease, ProcessId

logger = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
STALE_S = 60.0
"""A heartbeat that stands still for this long, by the clock of who looks, is that of a dead owner."""
LOOK_S = 1.0
"""Between two looks at another owner's heartbeat."""

EndSession = Callable[[Sequence[ProcessId], str], Sequence[int]]
"""(processes, folder) of a dead owner's local Ray session -> the numbers of the processes that had to be ended."""
Session = Callable[[], tuple[tuple[ProcessId, ...], str]]
"""Processes and folder of this process's own local Ray session, as of now."""

_held: set[str] = set()
"""Tokens of the leases that this process holds now: one that it could not give up in an outage is free all the same."""


class Ownership:
    """The lease of a study, renewed by a thread of its own: a calibration may take longer than an owner may be
    silent."""

    def __init__(self, store: Leases, study: str, lease: Lease, backoff: Backoff = NO_WAITING) -> None:
        """The lease is held already."""
        self._store = store
        self._study = study
        self._lease = lease
        self._backoff = backoff
        self._session: Session = lambda: ((), "")
        self._failure: NasError | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def note_session(self, session: Session) -> None:
        """From now on the lease names the processes of a Ray session, so that who takes over can end them.

        Raises:
            NasError: if the lease cannot be renewed.
        """
        self._session = session
        self._backoff.until_done(self.renew)

    def check(self) -> None:
        """Does nothing while the study is ours.

        Raises:
            StudyLockedError: if another process has taken it over.
            NasError: if the database failed.
        """
        if self._failure is not None:
            raise self._failure

    def renew(self) -> None:
        """Write a heartbeat now, without waiting for a database that is away.

        Raises:
            StudyLockedError: if another process has taken the study over.
            UnavailableError: if the database is away.
        """
        processes, folder = self._session()
        now = replace(self._lease, heartbeat=datetime.now(UTC), ray_processes=processes, ray_session=folder)
        self._store.renew_lease(self._study, now)

    def end(self) -> None:
        """Stop the heartbeat and give the study up; with the database away, whoever comes next finds a dead process.

        Raises:
            NasError: if the database fails.
        """
        self._ended.set()
        self._thread.join()
        with suppress(UnavailableError):
            self._store.release_lease(self._study, self._lease)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            try:
                self.renew()
            except UnavailableError as error:
                # The heart goes on when the database does, and learns then whether the study is still ours.
                logger.warning("no heartbeat: %s", error)
            except NasError as error:
                self._failure = error
                return


@contextmanager
def owned(
    store: Leases, study: str, end_session: EndSession, say: Callable[[str], None], backoff: Backoff = NO_WAITING
) -> Iterator[Ownership]:
    """Own the study inside the block; first end what a dead owner left behind on this machine.

    Args:
        store: where the lease stands.
        study: need not exist yet.
        end_session: ends what is left of a local Ray session.
        say: hears about a takeover.
        backoff: how long the block waits for the database; it learns to look whose the study is after an outage.

    Raises:
        StudyLockedError: if another living process owns it.
    """
    lease = Lease(socket.gethostname(), current_process(), datetime.now(UTC), machine(), uuid.uuid4().hex)
    former = store.acquire_lease(study, lease, _silent_owner(store, study, lease, say))
    _held.add(lease.token)
    ownership = Ownership(store, study, lease, backoff)
    try:
        backoff.check_owner = ownership.renew
        if former is not None:
            is_here = bool(lease.machine) and former.machine == lease.machine
            ended = end_session(former.ray_processes, former.ray_session) if is_here else ()
            say(
                f"took over from process {former.process.pid} on {former.host}, which is gone; ended {len(ended)} "
                "processes it left behind"
            )
        yield ownership
    finally:
        backoff.check_owner = _nothing
        _held.discard(lease.token)
        ownership.end()


def _silent_owner(store: Leases, study: str, own: Lease, say: Callable[[str], None]) -> Lease | None:
    """The owner of a study whose heartbeat stands still; None without an owner, and for one that lives.

    An owner on another machine is watched: clocks of two hosts may differ, and after an outage every heartbeat is old.
    """
    owner = store.lease(study)
    if owner is None:
        return None
    is_here = bool(own.machine) and owner.machine == own.machine
    if is_here and owner.process == own.process:
        return None if owner.token in _held else owner
    if is_here and not is_hidden(owner.process.pid):
        return None
    say(
        f"study {study} belongs to process {owner.process.pid} on {owner.host}, which may have ended: watching its "
        f"heartbeat for up to {STALE_S:g} s"
    )
    until = time.monotonic() + STALE_S
    while time.monotonic() < until:
        time.sleep(LOOK_S)
        now = store.lease(study)
        if now != owner:
            return None
    return owner


def _nothing() -> None:
    """After the study was given up there is no owner to look for."""
