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
from hybrid_nas.service.errors import NotFoundError
from nas.errors import InvalidInputError
from nas.records import JSON
from search_spaces.zoo.index import read_index, require_name

router = APIRouter(tags=["zoo"])

CARD = "README.md"
Name = Annotated[str, Path(max_length=200)]


@router.get("/zoo")
def entries(
    service: CurrentService,
    caller: CurrentCaller,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> JSON:
    """Every entry of the zoo."""
    known = read_index(service.settings.zoo)
    shown = [_entry(service.settings.zoo, entry) for entry in known[offset : offset + limit]]
    return page_json(shown, len(known), offset, limit)


@router.get("/zoo/{name}")
def entry(name: Name, service: CurrentService, caller: CurrentCaller) -> JSON:
    """One entry with its card."""
    return _entry(service.settings.zoo, _find(service.settings.zoo, name))


@router.get("/zoo/{name}/download", response_class=FileResponse)
def download(name: Name, service: CurrentService, caller: CurrentCaller) -> FileResponse:
    """One entry as a zip."""
    folder = service.settings.zoo / _find(service.settings.zoo, name)["name"]
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


def _find(zoo: File, name: str) -> JSON:
    """The entry of that name; what stands beside the zoo has none."""
    try:
        require_name(name)
    except InvalidInputError as error:
        raise NotFoundError(str(error)) from error
    for known in read_index(zoo):
        if known["name"] == name:
            return known
    raise NotFoundError(f"the zoo has no entry {name!r}; its list says which there are")


def _entry(zoo: File, entry: JSON) -> JSON:
    card = zoo / str(entry["name"]) / CARD
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    return {"name": entry["name"], "card": text, "metrics": entry}
