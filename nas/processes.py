"""Which process is meant: a number is reused by the operating system, so a process is (number, start time)."""

import psutil

from nas.records import ProcessId

# psutil derives the start time from the boot time, which follows the corrections of the system clock; no number is
# reused this fast.
_SAME_START_S = 1.5


def process_id(process: psutil.Process) -> ProcessId:
    """The identity of a running process."""
    return ProcessId(process.pid, process.create_time())


def current_process() -> ProcessId:
    """The identity of this process."""
    return process_id(psutil.Process())


def find_process(process: ProcessId) -> psutil.Process | None:
    """This very process, if it still runs on this host; a zombie, which only waits for its parent to notice, is
    dead."""
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.start_time) < _SAME_START_S
        return found if same and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def is_alive(process: ProcessId) -> bool:
    """Whether this very process still runs on this host."""
    return find_process(process) is not None
