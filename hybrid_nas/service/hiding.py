"""What a process of the service said, for people who need not know where things lie on its host."""

import re
from pathlib import Path

from hybrid_nas.service.settings import Settings

_PATH = re.compile(r"(?:\w+:///?(?=/)|(?<![\w/~.<]))(?:/[^\s/'\":;,()<>]+)+/?")
"""An absolute path, also within a URL of SQLite; the path of another URL stands behind its host."""


def without_paths(text: str, settings: Settings) -> str:
    """A line in which absolute paths are cut down to their last names.

    Args:
        text: the line.
        settings: of the service, whose folders may have blanks in their names.
    """
    folders = [settings.folder, settings.zoo, *settings.data_folders]
    folders += [] if settings.artifacts is None else [Path(settings.artifacts)]
    for folder in {each.absolute() for each in folders}:
        text = text.replace(f"{folder}/", "/")
        text = text.replace(str(folder), folder.name)
    return _PATH.sub(lambda found: found[0].rstrip("/").rpartition("/")[2], text)
