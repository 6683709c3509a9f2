"""Who coordinates a study: one row per study, changed only by comparing and swapping it. Works inside the caller's
transaction."""

from collections.abc import Callable
from typing import NoReturn

import sqlalchemy as sa
from sqlalchemy import Connection

from db.rows import lease_record, lease_values
from db.tables import leases
from nas.errors import StudyLockedError
from nas.records import Lease, ProcessId

IsDead = Callable[[ProcessId], bool]
"""Whether a process of this machine is known to have ended."""


def take_lease(connection: Connection, study: str, lease: Lease, silent: Lease | None, is_dead: IsDead) -> Lease | None:
    """Make `lease` the owner of the study.

    Args:
        connection: in a transaction.
        study: its name.
        lease: who wants it.
        silent: an owner whose heartbeat stood still for so long that it counts as dead.
        is_dead: tells it of processes of this machine.

    Returns:
        The lease in whose place it stands now; None when nobody owned the study.

    Raises:
        StudyLockedError: if the owner lives, or may live.
        IntegrityError: if another process took the free study at the same moment.
    """
    while (owner := select_lease(connection, study)) is not None:
        if owner.token == lease.token:  # the answer to an earlier attempt was lost
            return None
        if owner != silent and not is_abandoned(owner, lease.machine, is_dead):
            raise StudyLockedError(
                f"study {study!r} is being searched by {_describe(owner)}, last heartbeat "
                f"{owner.heartbeat:%Y-%m-%d %H:%M:%S} UTC: wait until it ends, or stop it"
            )
        unchanged = (*_owned_by(study, owner), leases.c.heartbeat == owner.heartbeat)
        if connection.execute(sa.update(leases).where(*unchanged), lease_values(study, lease)).rowcount == 1:
            return owner
    connection.execute(sa.insert(leases), lease_values(study, lease))
    return None


def is_abandoned(owner: Lease, machine: str, is_dead: IsDead) -> bool:
    """Whether the owner is known to be dead: its process was one of this machine, and has ended."""
    return bool(machine) and owner.machine == machine and is_dead(owner.process)


def renew_lease(connection: Connection, study: str, lease: Lease) -> None:
    """Write the owner's heartbeat and Ray processes.

    Raises:
        StudyLockedError: if the owner is another process, or nobody.
    """
    if connection.execute(sa.update(leases).where(*_owned_by(study, lease)), lease_values(study, lease)).rowcount == 1:
        return
    _refuse(connection, study, lease)


def require_lease(connection: Connection, study: str, lease: Lease) -> None:
    """Keep the study ours until the transaction ends.

    Raises:
        StudyLockedError: if the owner is another process, or nobody.
    """
    owned = sa.select(leases.c.pid).where(*_owned_by(study, lease)).with_for_update(read=True)
    if connection.execute(owned).one_or_none() is None:
        _refuse(connection, study, lease)


def _refuse(connection: Connection, study: str, lease: Lease) -> NoReturn:
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


def _describe(lease: Lease) -> str:
    return f"process {lease.process.pid} on host {lease.host}"


def _owned_by(study: str, lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    return leases.c.study == study, leases.c.token == lease.token
