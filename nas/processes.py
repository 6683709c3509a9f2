"""Which process is meant: a number is reused by the operating system, and means something on one machine only."""

import os
from pathlib import Path

import psutil

from nas.records import ProcessId

# Start times are counted in ticks of a hundredth of a second; elsewhere than on Linux they follow the corrections of
# the system clock. No number is reused this fast.
_SAME_START_S = 1.5
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_START_FIELD = 19
"""Place of the start time in /proc/PID/stat, counted after the name of the program.
Source: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html"""


def machine() -> str:
    """What the numbers of processes belong to: one boot of one kernel, and a process namespace of it.

    Names and /etc/machine-id are copied with an image, and change while the machine runs. Linux draws the boot id at
    random, and containers of one kernel differ in the namespace.

    Returns:
        Empty where this cannot be told; then no two processes are known to share a machine.
    """
    try:
        return f"{_BOOT_ID.read_text().strip()} {os.readlink(_PID_NAMESPACE)}"
    except OSError:
        return ""


def process_id(process: psutil.Process) -> ProcessId:
    """The identity of a running process.

    On Linux the start is counted from the boot: the time of day of a start moves when the clock is set.

    Raises:
        psutil.NoSuchProcess: if it has ended.
    """
    try:
        text = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
        ticks = int(text.rpartition(")")[2].split()[_START_FIELD])
    except (OSError, IndexError):
        return ProcessId(process.pid, process.create_time())
    return ProcessId(process.pid, ticks / os.sysconf("SC_CLK_TCK"))


def current_process() -> ProcessId:
    """The identity of this process."""
    return process_id(psutil.Process())


def find_process(process: ProcessId) -> psutil.Process | None:
    """This very process, if it still runs on this machine and may be looked at; a zombie, which only waits for its
    parent to notice, is dead."""
    try:
        found = psutil.Process(process.pid)
        same = abs(process_id(found).start_time - process.start_time) < _SAME_START_S
        return found if same and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def is_alive(process: ProcessId) -> bool:
    """Whether this very process still runs on this machine."""
    return find_process(process) is not None


def is_dead(process: ProcessId) -> bool:
    """Whether this very process is known to have ended.

    False where that cannot be told: /proc may hide the processes of other users.
    """
    try:
        return find_process(process) is None and not is_hidden(process.pid)
    except psutil.AccessDenied:
        return False


def is_hidden(pid: int) -> bool:
    """Whether a process has this number and cannot be looked at: it may be the one that is meant, or not."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return not Path(f"/proc/{pid}").exists()
    except (ProcessLookupError, OverflowError):
        return False
    return False
