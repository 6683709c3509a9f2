"""Who coordinates a study: one row per study, changed only by comparing and swapping it. Works inside the caller's
transaction."""

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy import Connection

from db.rows import lease_record, lease_values
from db.tables import leases
from nas.errors import StudyLockedError
from nas.records import Lease, ProcessId

IsAlive = Callable[[ProcessId], bool]
"""Whether a process of this host still runs."""


def take_lease(
    connection: Connection, study: str, lease: Lease, stale_after_s: float, is_alive: IsAlive
) -> Lease | None:
    """Make `lease` the owner of the study.

    Returns:
        The lease in whose place it stands now; None when nobody owned the study.

    Raises:
        StudyLockedError: if the owner lives.
        IntegrityError: if another process took the free study at the same moment.
    """
    while (owner := select_lease(connection, study)) is not None:
        _require_abandoned(study, owner, lease, stale_after_s, is_alive)
        unchanged = (*_owned_by(study, owner), leases.c.heartbeat == owner.heartbeat)
        if connection.execute(sa.update(leases).where(*unchanged), lease_values(study, lease)).rowcount == 1:
            return owner
    connection.execute(sa.insert(leases), lease_values(study, lease))
    return None


def renew_lease(connection: Connection, study: str, lease: Lease) -> None:
    """Write the owner's heartbeat and Ray processes.

    Raises:
        StudyLockedError: if the owner is another process, or nobody.
    """
    if connection.execute(sa.update(leases).where(*_owned_by(study, lease)), lease_values(study, lease)).rowcount == 1:
        return
    owner = select_lease(connection, study)
    now = "nobody owns it now" if owner is None else f"{_describe(owner)} owns it now"
    raise StudyLockedError(
        f"study {study!r} no longer belongs to {_describe(lease)}; {now}: this search stops, the other one goes on"
    )


def release_lease(connection: Connection, study: str, lease: Lease) -> None:
    """Give the study up; another process's row stays."""
    connection.execute(sa.delete(leases).where(*_owned_by(study, lease)))


def select_lease(connection: Connection, study: str) -> Lease | None:
    """Whose name stands on the study, alive or not."""
    row = connection.execute(sa.select(leases).where(leases.c.study == study)).one_or_none()
    return None if row is None else lease_record(row)


def _require_abandoned(study: str, owner: Lease, lease: Lease, stale_after_s: float, is_alive: IsAlive) -> None:
    # The heartbeat of the process that asks is "now".
    age_s = (lease.heartbeat - owner.heartbeat).total_seconds()
    here = owner.host == lease.host
    if not is_alive(owner.process) if here else age_s > stale_after_s:
        return
    advice = "wait until it ends, or stop it"
    if not here:
        advice += f"; if that host is gone, its study is free {stale_after_s:.0f} s after the last heartbeat"
    raise StudyLockedError(
        f"study {study!r} is being searched by {_describe(owner)}, last heartbeat {age_s:.0f} s ago: {advice}"
    )


def _describe(lease: Lease) -> str:
    return f"process {lease.process.pid} on host {lease.host}"


def _owned_by(study: str, lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    process = lease.process
    return (
        leases.c.study == study,
        leases.c.host == lease.host,
        leases.c.pid == process.pid,
        leases.c.start_time_s == process.start_time,
    )
