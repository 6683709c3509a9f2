"""Which files of a folder are images of the user's, and what else lies there."""

import errno
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nas.errors import listed
from workers.data.source import plain_text

IMG_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})
"""Those of torchvision, which takes a second to import."""
LEFT_BEHIND = frozenset(
    {
        # Windows
        "$extend",
        "$recycle.bin",
        "desktop.ini",
        "ehthumbs.db",
        "found.000",
        "system volume information",
        "thumbs.db",
        # macOS, on its own and on others' disks
        "__macosx",
        "network trash folder",
        "temporary items",
        "thefindbycontentfolder",
        "thevolumesettingsfolder",
        # Linux
        "lost+found",
        # network disks: Synology, QNAP, NetApp, Samba
        "#recycle",
        "#snapshot",
        "@__thumb",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "@sharebin",
        "@sharesnap",
        "@tmp",
        "recycle.bin",
        "~snapshot",
        # tools
        "__pycache__",
    }
)
"""Names, in small letters, of what operating systems, network disks and tools put into folders."""

LEFT_BEHIND_IN_CAPITALS = frozenset({"RECYCLED", "RECYCLER"})
"""Bins of old Windows, which writes them so; in other letters they are as good a name of a class as any."""

PassedOver = Counter[str]
"""Suffix -> files with it that are no images of the user's; "" for none."""


def is_left_behind(name: str) -> bool:
    """Whether a file or folder of that name is not the user's: hidden (":2e" is a dot on some network disks), a lock, a
    backup, or one of LEFT_BEHIND or LEFT_BEHIND_IN_CAPITALS."""
    is_hidden = name.startswith((".", ":2e", "~$")) or name.endswith("~")
    return is_hidden or name.casefold() in LEFT_BEHIND or name in LEFT_BEHIND_IN_CAPITALS


def class_folders(folder: Path, passed_over: PassedOver) -> dict[str, Path]:
    """Name of a class -> its folder.

    Args:
        folder: of a split.
        passed_over: files beside the class folders are added to it.

    Raises:
        OSError: if the folder cannot be listed, or a link in it may be that of a class and leads nowhere.
    """
    classes = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_left_behind(entry.name):
                _pass_over(entry, passed_over)
            elif _is_lost_class(entry):
                raise FileNotFoundError(errno.ENOENT, "it is a link that leads nowhere", entry.path)
            elif not entry.is_dir():
                _pass_over(entry, passed_over)
            else:
                classes[entry.name] = Path(entry.path)
    return classes


def image_files(folder: Path, passed_over: PassedOver) -> list[Path]:
    """The images in a folder and in the folders below it, sorted.

    Args:
        passed_over: all other files are added to it.

    Raises:
        OSError: if a folder of the user's cannot be listed.
    """
    return sorted(_walk(folder, passed_over))


def _walk(folder: Path, passed_over: PassedOver) -> Iterator[Path]:
    for entry in os.scandir(folder):
        if is_left_behind(entry.name):
            _pass_over(entry, passed_over)
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), passed_over)
        elif os.path.splitext(entry.name)[1].lower() in IMG_EXTENSIONS and entry.is_file():
            yield Path(entry.path)
        else:
            _pass_over(entry, passed_over)


def _is_lost_class(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a link to what is not there, a disk that is not mounted for example, and named like no file."""
    return entry.is_symlink() and not os.path.exists(entry.path) and not os.path.splitext(entry.name)[1]


def _pass_over(entry: "os.DirEntry[str]", passed_over: PassedOver) -> None:
    """Count a file, or all files below a folder; what cannot be listed there is nobody's loss."""
    names = [entry.name]
    if entry.is_dir(follow_symlinks=False):
        names = []
        for _, _, files in os.walk(entry.path):
            names += files
    passed_over.update(Path(name).suffix.lower() for name in names)


def passed_over_text(passed_over: PassedOver) -> str:
    """For people: "3 files: 2 .jpg, 1 without suffix"; empty where there are none."""
    if not passed_over:
        return ""
    total = passed_over.total()
    by_count = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    kinds = [f"{count:,} {plain_text(suffix) or 'without suffix'}" for suffix, count in by_count]
    return f"{total:,} file{'s' * (total > 1)}: {listed(kinds, shown=8)}"
