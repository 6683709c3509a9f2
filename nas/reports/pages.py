"""Pages of one file that need no network (docs/adr/0002): a template, the style and script that all share, and data as
JSON."""

import html
import json
from importlib.resources import files
from pathlib import Path

from nas.files import write_file
from nas.records import JSON

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")
"""What the name of a picture may end in."""


def write_page(path: Path, template: str, title: str, page: JSON) -> None:
    """Fill a template and write it.

    Args:
        path: where to; it ends in .html, an existing file is replaced.
        template: name of a file of this package with __HEAD__, __DATA__ and, where it draws, __SCRIPT__.
        title: of the page, any text.
        page: what the template's script reads, finite numbers only.

    Raises:
        InvalidInputError: if the file cannot be written as asked.
    """
    folder = files("nas.reports")
    head, tail = (folder / template).read_text(encoding="utf-8").split("__DATA__")
    for word, file in (("__HEAD__", "page_head.html"), ("__STYLE__", "page.css"), ("__SCRIPT__", "page.js")):
        shared = (folder / file).read_text(encoding="utf-8")
        head = head.replace(word, shared)
        tail = tail.replace(word, shared)
    # A layout or a study name must not be able to end the script element.
    data = json.dumps(page, allow_nan=False).replace("<", "\\u003c")
    write_file(path, head.replace("__TITLE__", html.escape(title)) + data + tail, (".html",))
