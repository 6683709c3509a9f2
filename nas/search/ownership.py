"""Owning a study: its lease, the heartbeat, and the end of what a dead owner left behind (DESIGN 2.1)."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from nas.errors import NasError
from nas.processes import current_process
from nas.protocols import Leases
from nas.records import Lease, ProcessId

HEARTBEAT_S = 5.0
STALE_S = 60.0
"""Age of the last heartbeat after which an owner on another host counts as dead."""

EndSession = Callable[[Sequence[ProcessId], str], Sequence[int]]
"""(processes, folder) of a dead owner's local Ray session -> the numbers of the processes that had to be ended."""
Session = Callable[[], tuple[tuple[ProcessId, ...], str]]
"""Processes and folder of this process's own local Ray session, as of now."""


class Ownership:
    """The lease of a study, renewed by a thread of its own: a calibration may take longer than an owner may be
    silent."""

    def __init__(self, store: Leases, study: str, lease: Lease) -> None:
        """The lease is held already."""
        self._store = store
        self._study = study
        self._lease = lease
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
        self._renew()

    def check(self) -> None:
        """Does nothing while the study is ours.

        Raises:
            StudyLockedError: if another process has taken it over.
            NasError: if the database failed.
        """
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Stop the heartbeat and give the study up.

        Raises:
            NasError: if the database fails.
        """
        self._ended.set()
        self._thread.join()
        self._store.release_lease(self._study, self._lease)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            try:
                self._renew()
            except NasError as error:
                self._failure = error
                return

    def _renew(self) -> None:
        processes, folder = self._session()
        now = replace(self._lease, heartbeat=datetime.now(UTC), ray_processes=processes, ray_session=folder)
        self._store.renew_lease(self._study, now)


@contextmanager
def owned(store: Leases, study: str, end_session: EndSession, say: Callable[[str], None]) -> Iterator[Ownership]:
    """Own the study inside the block; first end what a dead owner left behind on this host.

    Args:
        store: where the lease stands.
        study: need not exist yet.
        end_session: ends what is left of a local Ray session.
        say: hears about a takeover.

    Raises:
        StudyLockedError: if another living process owns it.
    """
    lease = Lease(socket.gethostname(), current_process(), datetime.now(UTC))
    former = store.acquire_lease(study, lease, STALE_S)
    ownership = Ownership(store, study, lease)
    try:
        if former is not None:
            ended = end_session(former.ray_processes, former.ray_session) if former.host == lease.host else ()
            say(
                f"took over from process {former.process.pid} on {former.host}, which is gone; ended {len(ended)} "
                "processes it left behind"
            )
        yield ownership
    finally:
        ownership.end()
