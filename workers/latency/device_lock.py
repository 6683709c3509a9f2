"""A lock per computing device, shared by the processes of one host: nothing is timed while anything else computes there
(DESIGN 2.10).

Training holds the lock shared for one slice of work at a time (some 50 ms of steps, or a batch of a validation), timing
holds it exclusively. Two advisory file locks make one device lock: `.lock` itself, and a turnstile `.turn` that
everybody passes on the way in. A process that wants the exclusive lock stands in the turnstile until it is done, so
newcomers queue behind it and a stream of shared holders cannot starve it. Source: the turnstile solution of the
readers-writers problem in Downey, "The Little Book of Semaphores", section 4.2.

The files lie at a fixed place of the host and not under TMPDIR, which differs from job to job and from user to user.
"""

import errno
import fcntl
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import InvalidInputError
from nas.files import private_folder
from workers.devices import CPU

if TYPE_CHECKING:
    import torch

PLACES = Path("/run/lock"), Path("/tmp")
"""Where locks may lie: the first folder in which everybody may make files and nobody may remove those of others. Other
programs clean up the second one."""
AFTER_YOU_S = 0.001
"""Whoever had the device alone pauses before it can ask again. The system serves those who wait in the order in which
they came, but only once they are awake; without the pause two processes that time in turn kept a third one waiting for
seconds."""
_OPEN_TO_ALL = stat.S_ISVTX | stat.S_IRWXO


def device_identity(device: "torch.device | str") -> str:
    """Name the physical device: "cpu" for the host's processors as a whole, the UUID for a GPU.

    A CUDA index means another GPU in each process (CUDA_VISIBLE_DEVICES), a UUID does not.

    Raises:
        InvalidInputError: if the device is neither a CPU nor a CUDA device.
    """
    if device == CPU:
        return CPU
    import torch  # here, because it takes a second and the lock itself does not need it

    device = torch.device(device)
    if device.type == "cpu":
        return "cpu"
    if device.type == "cuda":
        return f"cuda-{torch.cuda.get_device_properties(device).uuid}"
    raise InvalidInputError(f"device {str(device)!r} cannot be locked; expected cpu or cuda")


class DeviceLock:
    """The lock of one device. Not reentrant, and for one thread: give every thread an object of its own.

    The kernel frees the lock when its holder dies, however it dies. (A child that was forked while the lock was held
    would share it; programs started with exec do not.)

    Args:
        identity: of the device, as `device_identity` names it. Objects of equal identity and folder exclude each other,
            whoever's processes they live in.
        folder: where the lock files lie; by default the one of PLACES that this host has.

    Raises:
        InvalidInputError: if the files cannot be made or opened there.
    """

    def __init__(self, identity: str, folder: Path | None = None) -> None:
        folder = folder or _place()
        self.identity = identity
        self.notes = private_folder(folder / f"nas-notes-{os.getuid()}")
        """Folder of this user alone, for what timings learn of the device."""
        self.stem = _file_stem(identity)
        """Begins the names of all files of this device."""
        self._lock = _opened(folder / f"{self.stem}.lock")
        self._turn = _opened(folder / f"{self.stem}.turn")
        self._held = False

    @contextmanager
    def shared(self) -> Iterator[float]:
        """Compute on the device beside others who do. Yields the seconds spent waiting; costs microseconds when nobody
        waits."""
        start = time.monotonic()
        with self._not_nested():
            with _flock(self._turn, fcntl.LOCK_SH):
                fcntl.flock(self._lock, fcntl.LOCK_SH)
            try:
                yield time.monotonic() - start
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    @contextmanager
    def exclusive(self) -> Iterator[float]:
        """Have the device alone. Yields the seconds spent waiting: at most until the present holders, and who stands
        before it in the turnstile, leave."""
        start = time.monotonic()
        try:
            with self._not_nested(), _flock(self._turn, fcntl.LOCK_EX), _flock(self._lock, fcntl.LOCK_EX):
                yield time.monotonic() - start
        finally:
            time.sleep(AFTER_YOU_S)

    def is_wanted_alone(self) -> bool:
        """Whether somebody has the device alone, or stands in the turnstile for that. Waits for nobody."""
        try:
            with _flock(self._turn, fcntl.LOCK_SH | fcntl.LOCK_NB):
                return False
        except BlockingIOError:
            return True

    @contextmanager
    def _not_nested(self) -> Iterator[None]:
        # A second flock on the same file descriptor would convert the first one without a word.
        assert not self._held, f"the lock of {self.identity} is already held by this object"
        self._held = True
        try:
            yield
        finally:
            self._held = False


@contextmanager
def _flock(descriptor: int, operation: int) -> Iterator[None]:
    fcntl.flock(descriptor, operation)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _file_stem(identity: str) -> str:
    """A readable file name; the digest keeps identities apart that differ in other characters only."""
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    return f"nas-{re.sub(r'[^A-Za-z0-9-]', '_', identity)}-{digest}"


def _place() -> Path:
    for folder in PLACES:
        with suppress(OSError):
            if folder.stat().st_mode & _OPEN_TO_ALL == _OPEN_TO_ALL and os.access(folder, os.W_OK):
                return folder
    raise InvalidInputError(
        f"device locks need a folder in which everybody may make files, and neither {' nor '.join(map(str, PLACES))} "
        "is one; make one of them (mode 1777)"
    )


def _opened(path: Path) -> int:
    """A descriptor of a file that whoever comes first makes. Others only read it, which is enough for a lock, so that
    nobody ever writes into a file of somebody else's.

    Raises:
        InvalidInputError: if it is no plain file, or cannot be made or read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # neither a link nor a pipe is waited for
    try:
        try:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
            os.fchmod(descriptor, 0o644)  # whatever the umask
        except FileExistsError:
            descriptor = os.open(path, flags)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is no plain file")
    except OSError as error:
        raise InvalidInputError(
            f"the lock file {path} cannot be used ({error.strerror}); remove it, or let its owner remove it"
        ) from error
    return descriptor
