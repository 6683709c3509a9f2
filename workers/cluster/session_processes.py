"""The processes of a local Ray session: know them for certain, and end those that a dead coordinator left behind.

Ray's processes are found by three marks, because none is on all of them: the list that the coordinator wrote into its
lease; the variable SESSION_VARIABLE in their environment (the agents overwrite theirs with a title); the session's
folder in the command line or among the open files of a program of Ray's. Nothing else is ended: somebody who reads a
log of the session keeps the reader.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psutil

from nas.errors import InvalidInputError
from nas.processes import current_process, find_process, is_dead, machine, process_id
from nas.records import ProcessId

SESSION_VARIABLE = "NAS_RAY_SESSION"
"""Environment variable that every process of a local Ray session inherits; its value is the session's folder."""
SESSION_PREFIX = "nas-ray-"
GRACE_S = 2.0
"""Between SIGTERM and SIGKILL."""
_OWNER_FILE = "coordinator.json"
_ROUNDS = 5
"""A process may start another one while it is being ended; one that outlives this many rounds hangs in the kernel."""
_LONGEST_BASE = 18
"""Ray puts sockets some 85 characters below this, and the path of a socket has at most 107, on macOS 103."""


def make_session_folder() -> str:
    """A new folder of this user's for one local Ray session of this process.

    Raises:
        InvalidInputError: if it cannot be made.
    """
    base = _sessions_base()
    try:
        folder = tempfile.mkdtemp(prefix=SESSION_PREFIX, dir=base)
        (Path(folder) / _OWNER_FILE).write_text(json.dumps({"machine": machine(), **asdict(current_process())}))
    except OSError as error:
        raise InvalidInputError(
            f"Ray needs a folder under {base}, which cannot be made ({error.strerror}); make room, or set TMPDIR to a "
            f"folder that you may write, of at most {_LONGEST_BASE} characters"
        ) from error
    return folder


def end_abandoned_sessions() -> None:
    """Clean up after coordinators of this user that died before their lease named their session."""
    for folder in Path(_sessions_base()).glob(f"{SESSION_PREFIX}*"):
        with suppress(
            OSError, ValueError, KeyError
        ):  # somebody else's, or being made or removed by another coordinator
            owner = json.loads((folder / _OWNER_FILE).read_text())
            # Containers may share temporary files and not processes.
            is_here = owner.pop("machine") == machine() != ""
            if is_here and is_dead(ProcessId(**owner)):
                end_processes((), str(folder))


def _sessions_base() -> str:
    base = tempfile.gettempdir()
    return base if len(base) <= _LONGEST_BASE else "/tmp"


def session_processes(ray_session: str) -> tuple[ProcessId, ...]:
    """The processes of a local Ray session that this process started, with all that those started."""
    found = []
    for child in psutil.Process().children():
        if _belongs(child, ray_session):
            with suppress(psutil.NoSuchProcess):
                found += [child, *child.children(recursive=True)]
    identified = []
    for process in found:
        with suppress(psutil.NoSuchProcess):
            identified.append(process_id(process))
    return tuple(identified)


def end_processes(processes: Sequence[ProcessId], ray_session: str) -> list[int]:
    """End what is left of a local Ray session whose coordinator is dead or closing, wait until it is gone, remove its
    folder.

    Args:
        processes: those noted in the lease; one whose number now belongs to another process is left alone.
        ray_session: the session's folder, from `make_session_folder`; empty if there was no local Ray.

    Returns:
        The numbers of the processes that were ended, ascending.
    """
    ended: set[int] = set()
    for _ in range(_ROUNDS):
        if not (survivors := _survivors(processes, ray_session)):
            break
        _end(survivors)
        ended.update(process.pid for process in survivors)
    if ray_session:
        _remove(Path(ray_session))
    return sorted(ended)


def _survivors(processes: Iterable[ProcessId], ray_session: str) -> list[psutil.Process]:
    known = [found for process in processes if (found := find_process(process)) is not None]
    marked = [process for process in psutil.process_iter() if _belongs(process, ray_session)] if ray_session else []
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in {*known, *marked} if process.pid not in own]


def _belongs(process: psutil.Process, ray_session: str) -> bool:
    try:
        if process.uids().real != os.getuid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get(SESSION_VARIABLE) == ray_session:
            return True
        arguments = process.cmdline()
        if not any(argument.startswith("ray::") or "/ray/" in argument for argument in arguments):
            return False
        inside = f"{ray_session}/"
        return any(inside in argument for argument in arguments) or any(
            file.path.startswith(inside) for file in process.open_files()
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        _signal(process.terminate)
    _, stubborn = psutil.wait_procs(processes, timeout=GRACE_S)
    for process in stubborn:
        _signal(process.kill)
    psutil.wait_procs(stubborn, timeout=GRACE_S)


def _signal(send: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        send()


def _remove(folder: Path) -> None:
    """Remove a session folder. The path comes from a database, so anything that was not made by `make_session_folder`
    is left alone."""
    if (
        folder.name.startswith(SESSION_PREFIX)
        and folder.is_dir()
        and not folder.is_symlink()
        and folder.stat().st_uid == os.getuid()
    ):
        shutil.rmtree(folder, ignore_errors=True)
