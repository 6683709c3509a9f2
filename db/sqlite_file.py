"""A SQLite file as it lies there: of what kind it is, whether it may be written, and a connection that changes
nothing."""

import errno
import os
import shutil
import sqlite3
import threading
from collections import OrderedDict
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from nas.errors import InvalidInputError

BUSY_TIMEOUT_S = 30.0
_MAGIC = b"SQLite format 3\0"
_WAL_VERSION = 2
"""Bytes 18 and 19 of a file in WAL mode. Source: https://www.sqlite.org/fileformat2.html"""
_PART_BYTES = 2**20
_MOST_KEPT = 64
"""Files that a process has looked into and keeps open; it works with fewer at a time."""
_kept: OrderedDict[tuple[int, int], int] = OrderedDict()
"""(device, inode) -> descriptor, the file that was looked into last at the end."""
_keeping = threading.Lock()


def exists(path: Path, url: str) -> bool:
    """Whether there is a SQLite file, or an empty one that will be one.

    Raises:
        InvalidInputError: if something else is there, or it cannot be read; nothing was opened for writing.
    """
    try:
        path.stat()
        if not path.is_file():
            raise InvalidInputError(f"cannot use the database {url}: {path} is no file; name a file")
        head = os.pread(_descriptor(path), len(_MAGIC), 0)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(
            f"cannot use the database {url}: {path} cannot be read ({reason}); name a file that you may read"
        ) from error
    if head not in (b"", _MAGIC):
        raise InvalidInputError(
            f"cannot use the database {url}: it is a file of another kind, or an encrypted one; name another file"
        )
    return True


def is_writable(path: Path) -> bool:
    """Whether the file may be written, which takes files beside it too."""
    return os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK | os.X_OK)


def connect_reading(path: Path) -> sqlite3.Connection:
    """A connection that reads and changes neither the file nor its folder.

    In WAL mode SQLite itself would leave files behind, or refuse a folder that cannot be written. Where no other
    process has the file open it is complete without its index; what only a repair could read is read in a copy.
    Source: https://www.sqlite.org/wal.html#read_only_databases

    Raises:
        sqlite3.Error: if it cannot be read.
    """
    try:
        return _connect_reading(path)
    except OSError as error:
        raise sqlite3.OperationalError(f"unable to open database file ({error.strerror})") from error


def _connect_reading(path: Path) -> sqlite3.Connection:
    has_log = _has_content(path, "-wal")
    if not _is_in_wal_mode(path):
        return _copied(path, "-journal") if _is_hot(path) else _open(path, "mode=ro")
    if Path(f"{path}-shm").exists() and Path(f"{path}-wal").exists():
        return _open(path, "mode=ro&readonly_shm=1")
    return _copied(path, "-wal") if has_log else _open(path, "immutable=1")


def _open(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}", uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False
    )


def _copied(path: Path, suffix: str) -> sqlite3.Connection:
    """The content in memory, after SQLite has repaired a copy of file and log."""
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    with TemporaryDirectory(prefix="nas-copy-") as folder:
        copy = Path(folder) / "copy.db"
        _copy(path, copy)
        shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        with closing(sqlite3.connect(copy)) as repaired:
            repaired.backup(memory)
    memory.execute("PRAGMA query_only=ON")
    return memory


def _copy(path: Path, to: Path) -> None:
    descriptor = _descriptor(path)
    with to.open("wb") as file:
        while part := os.pread(descriptor, _PART_BYTES, file.tell()):
            file.write(part)


def _is_hot(path: Path) -> bool:
    """Whether a process died in a transaction, so that the file must be rolled back before it can be read."""
    if not _has_content(path, "-journal"):
        return False
    with closing(_open(path, "mode=ro")) as connection:
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.OperationalError:
            return True
    return False


def _is_in_wal_mode(path: Path) -> bool:
    header = os.pread(_descriptor(path), 20, 0)
    return len(header) == 20 and header[18] == header[19] == _WAL_VERSION


def _has_content(path: Path, suffix: str) -> bool:
    log = Path(f"{path}{suffix}")
    return log.is_file() and log.stat().st_size > 0


def _descriptor(path: Path) -> int:
    """A descriptor by which the file can be read. It stays open.

    Whoever closes a descriptor of a file gives up every lock that the process has on it, SQLite's own included. Another
    process that closes the database then takes itself for the last one and removes the log, while we go on in it.
    Source: https://www.sqlite.org/howtocorrupt.html, section 2.2
    """
    with _keeping:
        found = path.stat()
        key = (found.st_dev, found.st_ino)
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if key not in _kept:
            _kept[key] = os.open(path, os.O_RDONLY)
        _kept.move_to_end(key)
        if len(_kept) > _MOST_KEPT:
            os.close(_kept.popitem(last=False)[1])
        return _kept[key]
