"""Takes an entry that came over a network into a zoo."""

import hashlib
import io
import zipfile
import zlib
from pathlib import Path

from nas.errors import InvalidInputError
from nas.records import JSON
from search_spaces.zoo.export import add_entry
from search_spaces.zoo.index import require_name

LARGEST_BYTES = 2**33
"""What an entry has at most, unpacked."""
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
"""What zipfile raises for an archive that is damaged, or is encrypted or packed in a way that it does not know."""


def take_entry(zoo: Path, archive: bytes, entry: JSON, *, overwrite: bool = False) -> Path:
    """Add an entry of another zoo; every file must be the one that was exported.

    Args:
        zoo: folder of the zoo; made if it does not exist.
        archive: a zip whose one folder has the entry's name.
        entry: its line in the index of the other zoo.
        overwrite: replace an entry of that name.

    Returns:
        The folder of the entry.

    Raises:
        InvalidInputError: if the name is taken, or the archive does not hold just the files of the entry.
        NasError: if the zoo cannot be written.
    """
    try:
        name = str(entry["name"])
        require_name(name)
        files = _files(archive, name, dict(entry["sha256"]))
        arch_hash = str(entry["arch_hash"])
    except (KeyError, TypeError, ValueError, *UNREADABLE) as error:
        raise InvalidInputError(f"what was fetched is no entry of a zoo ({error}); fetch it again") from error

    def make(folder: Path) -> JSON:
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(content)
        return entry

    return add_entry(zoo, name, arch_hash, make, overwrite=overwrite)


def _files(archive: bytes, folder: str, sums: dict[str, str]) -> dict[str, bytes]:
    """Contents by name: those with a sum, each without a folder of its own."""
    if any("/" in name or "\\" in name or name in ("", ".", "..") for name in sums):
        raise ValueError("a file lies outside its folder")
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        if sorted(opened.namelist()) != sorted(f"{folder}/{name}" for name in sums):
            raise ValueError("its files are not those of the entry")
        if sum(info.file_size for info in opened.infolist()) > LARGEST_BYTES:
            raise ValueError("it is too large")
        files = {name: opened.read(f"{folder}/{name}") for name in sums}
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != sums[name]:
            raise ValueError(f"{name} has another SHA-256 than was recorded")
    return files
