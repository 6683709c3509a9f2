"""Writes a bundle: entries of a zoo and what times them, in one file that Python runs.

    python BUNDLE.zip --json device.json

It carries the very files of this project that time here, so the protocol is one. It needs Python 3.11 and torch with
timm, or onnxruntime and numpy.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from nas.errors import InvalidInputError
from nas.files import write_file
from nas.records import JSON
from search_spaces.zoo.index import read_index
from search_spaces.zoo.proof import check_entry
from workers.latency.device import ENTRIES, MANIFEST, ONNX_FILE

PARTS = (
    "nas/*.py",
    "search_spaces/__init__.py",
    "search_spaces/architecture/**/*.py",
    "workers/__init__.py",
    "workers/devices.py",
    "workers/processes.py",
    "workers/latency/*.py",
)
"""Files of this project that time on a device."""
CARRIED = ("config.json", "model.safetensors", "hybrid_backbone*.py", ONNX_FILE)
"""Files of an entry that are run."""
MAIN = '''"""Times the networks of this bundle; --help says how. Written by hybrid-nas, licence Apache-2.0."""

import sys
import tempfile
import zipfile
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit("error: this bundle needs Python 3.11 or newer, and this is " + sys.version.split()[0])
with tempfile.TemporaryDirectory(prefix="nas-bundle-") as folder:
    with zipfile.ZipFile(sys.argv[0]) as bundle:
        bundle.extractall(folder)
    sys.path.insert(0, folder)
    from workers.latency.device import main

    code = main(Path(folder), sys.argv[1:])
sys.exit(code)
'''
_TIME = (1980, 1, 1, 0, 0, 0)
"""The time of every file in a bundle, so that equal entries give equal bytes."""


def write_bundle(zoo: Path, names: Sequence[str], file: Path) -> list[str]:
    """Put entries of a zoo, and what times them, into one file.

    Args:
        zoo: folder of the zoo; entries of every earlier export can be bundled.
        names: of entries; all of them if there is none.
        file: where to; it ends in .zip and is replaced.

    Returns:
        The names of the entries.

    Raises:
        InvalidInputError: if the zoo has no such entry, an entry is not what was exported, or the file cannot be
            written.
    """
    entries = {entry["name"]: entry for entry in read_index(zoo)}
    chosen = list(dict.fromkeys(names or entries))
    for name in chosen or [""]:
        if name not in entries:
            raise InvalidInputError(
                f"zoo {zoo} has no entry {name!r}; expected one of: {', '.join(sorted(entries)) or 'none is there'}"
            )
        check_entry(zoo / name)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as bundle:
        _add(bundle, "__main__.py", MAIN.encode())
        for path, text in _code():
            _add(bundle, path, text)
        manifest = [_add_entry(bundle, zoo / name, entries[name]["arch_hash"]) for name in chosen]
        _add(bundle, MANIFEST, json.dumps(manifest, indent=2).encode())
    write_file(file, content.getvalue(), [".zip"])
    return chosen


def _code() -> Iterator[tuple[str, bytes]]:
    root = Path(__file__).parents[2]
    for pattern in PARTS:
        for path in sorted(root.glob(pattern)):
            yield path.relative_to(root).as_posix(), path.read_bytes()


def _add_entry(bundle: zipfile.ZipFile, folder: Path, arch_hash: str) -> JSON:
    sums = {}
    for pattern in CARRIED:
        for path in sorted(folder.glob(pattern)):
            content = path.read_bytes()
            sums[path.name] = hashlib.sha256(content).hexdigest()
            _add(bundle, f"{ENTRIES}/{folder.name}/{path.name}", content)
    return {"name": folder.name, "arch_hash": arch_hash, "files": sums}


def _add(bundle: zipfile.ZipFile, name: str, content: bytes) -> None:
    bundle.writestr(zipfile.ZipInfo(name, _TIME), content, zipfile.ZIP_DEFLATED)
