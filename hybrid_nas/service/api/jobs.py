"""Jobs: work that a caller does not wait for."""

from typing import Annotated

from fastapi import APIRouter, Path

from hybrid_nas.service.auth import CurrentCaller, CurrentService
from nas.records import JSON

router = APIRouter(tags=["jobs"])


@router.get("/jobs/{key}")
def job(key: Annotated[str, Path(max_length=64)], service: CurrentService, caller: CurrentCaller) -> JSON:
    """How a job stands."""
    return service.job(key)
