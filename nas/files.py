"""Paths as users give them, and whole files: what is written stands there whole, or what stood there before."""

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nas.errors import InvalidInputError, NasError, UnavailableError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STDOUT = "-"
"""Stands for the output where a file is asked for."""
MIN_FREE_BYTES = 64 * 2**20
"""Room without which no long work begins: for a log, drawings, and weights of some networks."""


def user_path(given: str | Path) -> Path:
    """The absolute path that a user means: ~ and ~user stand for a home, a relative path begins in the current folder.

    Every path that comes from outside passes here, as it was given and before anything else looks at it. What it
    returns stays the same wherever it is read again. It is recorded and printed, and therefore valid UTF-8.

    Args:
        given: need not exist.

    Raises:
        InvalidInputError: if no file can have that path.
    """
    text = _checked_text(given)
    expanded = os.path.expanduser(text)
    if text.startswith("~") and expanded == text:
        raise InvalidInputError(
            f"path {text!r} begins with the home of a user who has none here; write it out, or begin it with ./~"
        )
    try:
        path = Path(expanded).absolute()
    except OSError as error:
        raise InvalidInputError(
            f"path {text!r} begins in the current folder, which is gone; change to another"
        ) from error
    _require_possible(path)
    return path


def _checked_text(given: str | Path) -> str:
    if not isinstance(given, str | Path):
        raise InvalidInputError(f"path {given!r} is of type {type(given).__name__}; expected a text")
    text = str(given)
    if not text or "\0" in text:
        raise InvalidInputError(f"path {text!r} names no file; expected a text without null characters")
    return text


def _require_possible(path: Path) -> None:
    try:
        str(path).encode()
        path.stat()
    except FileNotFoundError:
        return
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"path {str(path)!r} is not UTF-8; rename it, or set PYTHONUTF8=1 if only the locale is another"
        ) from error
    except OSError as error:
        raise InvalidInputError(f"path {str(path)!r} cannot be used ({error.strerror}); give another") from error


def user_file(given: str | Path) -> Path:
    """user_path of a plain file, which need not exist.

    Raises:
        InvalidInputError: as user_path, and if a folder, a device, a pipe or a socket is there.
    """
    path = user_path(given)
    if path.is_dir():
        raise InvalidInputError(f"{str(path)!r} is a folder; expected a file name")
    if path.exists() and not path.is_file():
        raise InvalidInputError(f"{str(path)!r} is a device, a pipe or a socket; expected a file name")
    return path


def user_folder(given: str | Path) -> Path:
    """user_path of a folder, which need not exist.

    Raises:
        InvalidInputError: as user_path, and if something else is there.
    """
    path = user_path(given)
    if path.exists() and not path.is_dir():
        raise InvalidInputError(f"{str(path)!r} is no folder; expected one, or a name that is free")
    return path


@contextlib.contextmanager
def whole_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A hidden file beside `path`, to be written meanwhile; at the end it takes the place of `path`, or after an error
    it is removed.

    Args:
        path: an existing file is replaced. Its folder exists.
        durable: wait until the content is on the disk, because a database is to name the file.

    Raises:
        OSError: if it cannot be written; what stood there before stands there still.
    """
    part = _part_of(path)
    try:
        yield part
        if durable:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file, whole or not at all; arguments and errors are those of `whole_file`."""
    with whole_file(path, durable=durable) as part:
        part.write_bytes(content)


def cannot_keep(message: str, error: OSError) -> NasError:
    """What to raise where a file of a study cannot be written: a full disk may pass, other reasons stay."""
    return UnavailableError(message) if error.errno in _FULL else NasError(message)


def write_file(path: Path, content: str | bytes, suffixes: Sequence[str]) -> None:
    """Write a file for a user, whole or not at all.

    Args:
        path: where to; an existing file is replaced.
        content: text is written as UTF-8, halves of characters as their escapes.
        suffixes: what the name may end in, ".csv" for example.

    Raises:
        InvalidInputError: as check_file, and if the file cannot be written.
    """
    check_file(path, suffixes)
    try:
        write_whole(path, content.encode(errors="backslashreplace") if isinstance(content, str) else content)
    except OSError as error:
        raise _unwritable(path, error) from error


def check_file(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse what write_file could not write, before long work.

    Raises:
        InvalidInputError: if the suffix is another one, it is no plain file, or its folder does not exist or cannot be
            written.
    """
    user_file(path)
    if path.suffix.lower() not in suffixes:
        raise InvalidInputError(
            f"{str(path)!r} ends in {path.suffix!r}; expected a file name that ends in {' or '.join(suffixes)}"
        )
    if not path.parent.is_dir():
        raise InvalidInputError(f"{str(path)!r} lies in a folder that does not exist; create the folder first")
    try:
        with contextlib.suppress(FileNotFoundError):
            _part_of(path).lstat()  # its name may be too long
        _try(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error


def check_outputs(*outputs: tuple[str | Path | None, Sequence[str]]) -> None:
    """Refuse files that cannot be written, before any work is done for them.

    Args:
        outputs: each what was given, and what its name may end in.

    Raises:
        InvalidInputError: as user_file and check_file.
    """
    for file, suffixes in outputs:
        if file is not None and file != STDOUT:
            check_file(user_file(file), suffixes)


def check_writable(folder: Path, option: str) -> Path:
    """Refuse a folder in which no file can be made. Nothing is left of the trial.

    Args:
        folder: need not exist; then the nearest one above it that does is tried.
        option: by which the user names another one.

    Returns:
        The folder that was tried.

    Raises:
        InvalidInputError: if it is no folder, or cannot be written.
    """
    existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    try:
        _try(existing)
    except OSError as error:
        if error.errno in _FULL:  # a question of room, and not of rights
            return existing
        raise InvalidInputError(
            f"{folder} cannot be written ({error.strerror}); give a folder that you may write as {option}"
        ) from error
    return existing


def check_folder(folder: Path, option: str, num_bytes: int = 0) -> None:
    """Refuse a folder in which long work could not keep what it makes. Nothing is left of the trial.

    Args:
        folder, option: see check_writable.
        num_bytes: what the work makes, beside MIN_FREE_BYTES.

    Raises:
        InvalidInputError: as check_writable, and if the disk has not the room.
    """
    free = shutil.disk_usage(check_writable(folder, option)).free
    needed = MIN_FREE_BYTES + num_bytes
    if free < needed:
        raise InvalidInputError(
            f"the disk of {folder} has {free / 2**20:,.0f} MiB left, expected at least {needed / 2**20:,.0f}; make "
            f"room, or give a folder on another disk as {option}"
        )


def _try(folder: Path) -> None:
    """Raises OSError where no file can be made."""
    with tempfile.TemporaryFile(dir=folder):
        pass


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _unwritable(path: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(f"cannot write {str(path)!r} ({error.strerror}); choose a folder that you may write to")


def give(file: str, text: str, suffix: str, *, show: Callable[[str], object], note: Callable[[str], object]) -> None:
    """Hand a text to a user: to the output, or to a file with a line that says so.

    Args:
        file: STDOUT for the output, else where to; an existing file is replaced.
        text: JSON or CSV.
        suffix: what the name of a file must end in.
        show: prints a text and ends its line.
        note: prints a line beside the output, where it cannot be taken for a part of the text.

    Raises:
        InvalidInputError: if the file cannot be written as asked.
    """
    if file == STDOUT:
        show(text.removesuffix("\n"))
        return
    path = user_file(file)
    write_file(path, text, (suffix,))
    note(f"wrote {path}")


def private_folder(folder: Path) -> Path:
    """Create the folder for this user alone.

    Raises:
        InvalidInputError: if it cannot be made, or belongs to somebody else, who could then write there for us.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"the folder {folder} cannot be made ({error.strerror}); remove what is in its way"
        ) from error
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise InvalidInputError(
            f"the folder {folder} must belong to you and be writable by you alone; remove it, or let its owner "
            "remove it"
        )
    return folder
