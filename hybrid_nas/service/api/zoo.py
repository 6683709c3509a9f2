"""The zoo: what was exported, to look at and to take along."""

import os
import tempfile
import zipfile
from pathlib import Path as File
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from hybrid_nas.service.answers import page_json
from hybrid_nas.service.auth import CurrentCaller, CurrentService
from hybrid_nas.service.document import SVG, ZIP
from hybrid_nas.service.errors import NotFoundError
from nas.errors import InvalidInputError
from nas.records import JSON
from search_spaces.zoo.index import read_index, require_name

router = APIRouter(tags=["zoo"])

CARD = "README.md"
DRAWING = "layout.svg"
Name = Annotated[str, Path(max_length=200)]


@router.get("/zoo")
def entries(
    service: CurrentService,
    caller: CurrentCaller,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> JSON:
    """Every entry of the zoo."""
    known = all_entries(service.settings.zoo)
    return page_json(known[offset : offset + limit], len(known), offset, limit)


@router.get("/zoo/{name}")
def entry(name: Name, service: CurrentService, caller: CurrentCaller) -> JSON:
    """One entry with its card."""
    return find_entry(service.settings.zoo, name)


@router.get("/zoo/{name}/drawing", response_class=FileResponse, responses=SVG)
def drawing(name: Name, service: CurrentService, caller: CurrentCaller) -> FileResponse:
    """The layout of one entry, as SVG."""
    path = service.settings.zoo / find_entry(service.settings.zoo, name)["name"] / DRAWING
    if not path.is_file():
        raise NotFoundError(f"the entry {name!r} has no drawing; its card says what it is")
    return FileResponse(path, media_type="image/svg+xml")


@router.get("/zoo/{name}/download", response_class=FileResponse, responses=ZIP)
def download(name: Name, service: CurrentService, caller: CurrentCaller) -> FileResponse:
    """One entry as a zip."""
    folder = service.settings.zoo / find_entry(service.settings.zoo, name)["name"]
    with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file, zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                archive.write(path, File(name) / path.relative_to(folder))
    return FileResponse(
        file.name,
        media_type="application/zip",
        filename=f"{name}.zip",
        background=BackgroundTask(os.unlink, file.name),
    )


def all_entries(zoo: File) -> list[JSON]:
    """Name, card and metrics of every entry."""
    return [_entry(zoo, known) for known in read_index(zoo)]


def find_entry(zoo: File, name: str) -> JSON:
    """The entry of that name; what stands beside the zoo has none.

    Raises:
        NotFoundError: if there is none.
    """
    try:
        require_name(name)
    except InvalidInputError as error:
        raise NotFoundError(str(error)) from error
    for known in read_index(zoo):
        if known["name"] == name:
            return _entry(zoo, known)
    raise NotFoundError(f"the zoo has no entry {name!r}; its list says which there are")


def _entry(zoo: File, entry: JSON) -> JSON:
    card = zoo / str(entry["name"]) / CARD
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    return {"name": entry["name"], "card": text, "metrics": entry}
