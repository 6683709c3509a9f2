"""FILE.json beside a packed FILE: where its images come from, how they are split, and the checksum that an opening
compares."""

import contextlib
import hashlib
import json
import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from nas.errors import InvalidInputError
from nas.files import write_whole
from nas.records import JSON
from workers.data.source import CHUNK_BYTES, HASHED_BYTES, tell


@dataclass(kw_only=True, frozen=True, slots=True)
class Sidecar:
    """What `launch.py pack` knows about a file that it wrote."""

    source: str
    """The data that were packed, with an absolute path."""
    class_names: tuple[str, ...]
    """In the order of the labels."""
    num_train: int
    """The first images of the file."""
    num_validation: int
    """The images after those."""
    max_size: int
    """Longest side of an image, pixels."""
    file_bytes: int
    sha256: str
    """SHA-256 of the whole file, 64 hex digits."""

    def to_text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_text(cls, text: str | bytes) -> Self:
        """Inverse of to_text.

        Raises:
            ValueError: if the text is anything else.
        """
        values = json.loads(text)
        if not isinstance(values, dict) or values.keys() != {field.name for field in fields(cls)}:
            raise ValueError(f"expected a JSON object with {', '.join(field.name for field in fields(cls))}")
        _check_values(values)
        return cls(**{**values, "class_names": tuple(values["class_names"])})


def _check_values(values: JSON) -> None:
    counts = ("num_train", "num_validation", "max_size", "file_bytes")
    rules = {
        "source": isinstance(values["source"], str),
        "class_names": isinstance(values["class_names"], list)
        and all(isinstance(name, str) for name in values["class_names"]),
        **{name: type(values[name]) is int and values[name] > 0 for name in counts},
        "sha256": isinstance(values["sha256"], str),
    }
    if wrong := [name for name, holds in rules.items() if not holds]:
        raise ValueError(f"{wrong[0]} is {values[wrong[0]]!r}")


def sidecar_path(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")


def read_sidecar(text: str, file: Path) -> Sidecar | None:
    """The sidecar of a file, None if there is none: then the file was made elsewhere.

    Raises:
        InvalidInputError: if there is one that `launch.py pack` did not write, or that has been damaged.
    """
    path = sidecar_path(file)
    try:
        return Sidecar.from_text(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"data {text!r}: {path} is damaged or was not written by `launch.py pack` ({error}); pack the file again, "
            f"or take {path.name} away if it does not belong to {file.name}"
        ) from error


def check_contents(text: str, file: Path, sidecar: Sidecar) -> None:
    """Hold a file against the size and the checksum in its sidecar.

    Reading a large file takes a while and every worker opens it, so a hidden note beside it keeps that this very state
    of the file was found right: size, times of change and inode. The time of the inode's change is among them, which no
    program can set back.

    Raises:
        InvalidInputError: if the file is truncated, altered or unreadable.
    """
    try:
        found = file.stat()
        if found.st_size != sidecar.file_bytes:
            what = "truncated" if found.st_size < sidecar.file_bytes else "altered"
            raise _changed(
                text, file, sidecar, what, f"it has {found.st_size:,} bytes, {sidecar.file_bytes:,} were packed"
            )
        state = json.dumps([sidecar.sha256, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino])
        note = file.with_name(f".{file.name}.checked")
        if found.st_size > HASHED_BYTES and _content_of(note) == state:
            return
        if (digest := sha256_of(file)) != sidecar.sha256:
            raise _changed(
                text, file, sidecar, "altered", f"its SHA-256 is {digest[:12]}..., was {sidecar.sha256[:12]}..."
            )
    except OSError as error:
        raise InvalidInputError(
            f"data {text!r}: {file} cannot be read ({error.strerror}); give a file that can be"
        ) from error
    if found.st_size > HASHED_BYTES:
        with contextlib.suppress(OSError):  # a folder that is only for reading: the next opening reads the file again
            write_whole(note, state.encode(), durable=True)


def sha256_of(file: Path) -> str:
    digest = hashlib.sha256()
    size = file.stat().st_size
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            tell("hashing", stream.tell() // 2**20, size // 2**20, "MB")
    return digest.hexdigest()


def _content_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _changed(text: str, file: Path, sidecar: Sidecar, what: str, details: str) -> InvalidInputError:
    again = shlex.join(["pack", sidecar.source, str(file), "--max-size", str(sidecar.max_size), "--force"])
    return InvalidInputError(
        f"data {text!r}: {file} is {what}: {details}; copy it again, or pack it again: launch.py {again}"
    )
