"""Whole files: what is written stands there whole, or what stood there before."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nas.errors import InvalidInputError, NasError, UnavailableError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STDOUT = "-"
"""Stands for the output where a file is asked for."""


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
    part = path.with_name(f".{path.name}.part")
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
        content: text is written as UTF-8.
        suffixes: what the name may end in, ".csv" for example.

    Raises:
        InvalidInputError: as check_file, and if the file cannot be written.
    """
    check_file(path, suffixes)
    try:
        write_whole(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise InvalidInputError(
            f"cannot write {str(path)!r} ({error.strerror}); choose a folder that you may write to"
        ) from error


def check_file(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse what write_file could not write, before long work.

    Raises:
        InvalidInputError: if the suffix is another one, it is a folder, or its folder does not exist.
    """
    if path.suffix.lower() not in suffixes:
        raise InvalidInputError(
            f"{str(path)!r} ends in {path.suffix!r}; expected a file name that ends in {' or '.join(suffixes)}"
        )
    if path.is_dir():
        raise InvalidInputError(f"{str(path)!r} is a folder; expected a file name")
    if not path.parent.is_dir():
        raise InvalidInputError(f"{str(path)!r} lies in a folder that does not exist; create the folder first")


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
    write_file(Path(file), text, (suffix,))
    note(f"wrote {file}")
