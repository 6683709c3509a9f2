"""Studies: submit, look, stop, continue, extend, delete, and what they found."""

from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from db.browse import TrialFilter
from hybrid_nas.service.auth import CurrentCaller, CurrentService, door_of
from hybrid_nas.service.document import EVENTS, SVG
from hybrid_nas.service.events import Place, Tail, reached
from hybrid_nas.service.options import SearchOptions
from hybrid_nas.service.shortcuts import answered
from nas.config import LARGEST
from nas.records import JSON

router = APIRouter(tags=["studies"])

Name = Annotated[str, Path(max_length=400, examples=["conv_only-nano-digits"])]
Number = Annotated[int, Path(ge=0, le=2**31 - 1)]
Offset = Annotated[int, Query(ge=0, le=2**31 - 1)]
Limit = Annotated[int, Query(ge=1, le=500)]
Word = Annotated[str | None, Query(max_length=400)]
State = Literal["queued", "running", "stopping", "stopped", "finished", "failed"]
TrialState = Literal["COMPLETE", "PRUNED", "REJECTED", "FAIL"]
Sort = Literal["number", "top1", "latency_ms", "param_count", "macs", "duration"]


PICK = r"^(knee|accuracy|latency|trial:[0-9]+|latency:[0-9.]+(ms)?)$"


class Extension(BaseModel):
    """A larger budget."""

    model_config = ConfigDict(
        extra="forbid", strict=True, use_attribute_docstrings=True, json_schema_extra={"examples": [{"budget": 200}]}
    )

    budget: int = Field(ge=1, le=LARGEST)
    """Architectures to evaluate in the study, more than before."""


class Export(BaseModel):
    """What to write to the zoo."""

    model_config = ConfigDict(
        extra="forbid", strict=True, use_attribute_docstrings=True, json_schema_extra={"examples": [{"pick": "knee"}]}
    )

    pick: str = Field(default="knee", max_length=100, pattern=PICK)
    """Which trial: knee, accuracy, latency, trial:N or latency:MS."""
    name: str | None = Field(default=None, max_length=128)
    """Name of the entry; STUDY-tN by default."""
    onnx: bool = False
    """Add a checked ONNX file."""
    overwrite: bool = False
    """Replace an entry of that name."""


UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "What the caller has is still so"}}
"""For routes whose answers are kept: they carry an ETag."""


@router.post("/studies", status_code=201)
def submit(options: SearchOptions, service: CurrentService, caller: CurrentCaller, response: Response) -> JSON:
    """Queue a search; the body has the options of the command line, with underscores."""
    study = service.submit(caller, options)
    response.headers["location"] = f"/api/v1/studies/{quote(study['name'], safe='')}"
    return study


@router.get("/studies", response_model=JSON, responses=UNCHANGED)
async def studies(
    request: Request,
    service: CurrentService,
    caller: CurrentCaller,
    state: State | None = None,
    owner: Word = None,
    search: Word = None,
    offset: Offset = 0,
    limit: Limit = 50,
) -> Response:
    """All studies, newest first."""
    wanted = {"state": state, "owner": owner, "search": search}
    return await answered(request, service.listed, **wanted, offset=offset, limit=limit)


@router.get("/studies/{name}", response_model=JSON, responses=UNCHANGED)
async def study(request: Request, name: Name, service: CurrentService, caller: CurrentCaller) -> Response:
    """How one study stands."""
    return await answered(request, service.stands, name)


@router.delete("/studies/{name}", status_code=204)
def delete(
    name: Name, confirm: Annotated[str, Query(max_length=400)], service: CurrentService, caller: CurrentCaller
) -> None:
    """Delete a study that has ended, with all that it found; its name is given twice."""
    service.delete(caller, name, confirm)


@router.post("/studies/{name}/stop", status_code=202)
def stop(name: Name, service: CurrentService, caller: CurrentCaller) -> JSON:
    """Stop a search in order; its state is kept."""
    return service.stop(caller, name)


@router.post("/studies/{name}/continue", status_code=202)
def continue_(name: Name, service: CurrentService, caller: CurrentCaller) -> JSON:
    """Queue a search again that has ended."""
    return service.continue_(caller, name)


@router.post("/studies/{name}/extend", status_code=202)
def extend(name: Name, extension: Extension, service: CurrentService, caller: CurrentCaller) -> JSON:
    """Give a search a larger budget."""
    return service.extend(caller, name, extension.budget)


@router.get("/studies/{name}/trials", response_model=JSON, responses=UNCHANGED)
async def trials(
    request: Request,
    name: Name,
    service: CurrentService,
    caller: CurrentCaller,
    state: TrialState | None = None,
    mixer: Word = None,
    sort: Sort = "number",
    order: Literal["asc", "desc"] = "asc",
    offset: Offset = 0,
    limit: Limit = 50,
) -> Response:
    """A page of trials."""
    wanted = TrialFilter(state, mixer, sort, order == "desc")
    return await answered(request, service.trials, name, wanted, offset, limit)


@router.get("/studies/{name}/trials/{number}")
def trial(name: Name, number: Number, service: CurrentService, caller: CurrentCaller) -> JSON:
    """One trial with spec, scores and timings."""
    return service.trial(name, number)


@router.get("/studies/{name}/trials/{number}/drawing", response_class=Response, responses=SVG)
def drawing(name: Name, number: Number, service: CurrentService, caller: CurrentCaller) -> Response:
    """The layout of a trial's network, as SVG."""
    return Response(service.drawing(name, number), media_type="image/svg+xml")


@router.get("/studies/{name}/front", response_model=JSON, responses=UNCHANGED)
async def front(
    request: Request,
    name: Name,
    service: CurrentService,
    caller: CurrentCaller,
    target: Word = None,
    final: bool = False,
) -> Response:
    """The front, on the study's own target or another; the final front of `finalize` on demand."""
    return await answered(request, service.front, name, target, final=final)


@router.get("/studies/{name}/history", response_model=JSON, responses=UNCHANGED)
async def history(
    request: Request, name: Name, service: CurrentService, caller: CurrentCaller, target: Word = None
) -> Response:
    """How the hypervolume grew."""
    return await answered(request, service.history, name, target)


@router.get("/studies/{name}/explain", response_model=JSON, responses=UNCHANGED)
async def explain(
    request: Request,
    name: Name,
    service: CurrentService,
    caller: CurrentCaller,
    trial: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
) -> Response:
    """Which genes drive top1 and cost."""
    return await answered(request, service.explain, name, trial)


@router.get("/studies/{name}/log")
def log(
    name: Name, service: CurrentService, caller: CurrentCaller, lines: Annotated[int, Query(ge=1, le=2_000)] = 200
) -> JSON:
    """The end of what the search printed."""
    service.study(name)
    return {"lines": service.log(name, lines)}


@router.get("/studies/{name}/events", response_class=StreamingResponse, responses=EVENTS)
def events(
    request: Request,
    name: Name,
    service: CurrentService,
    caller: CurrentCaller,
    after: Annotated[str, Query(max_length=100)] = "",
    last_event_id: Annotated[str, Header(max_length=100)] = "",
) -> StreamingResponse:
    """What happens from the first trial on, or behind an event, as server-sent events."""
    service.study(name)
    place = reached(service, name, Place.read(last_event_id or after))
    tail: Tail = request.app.state.tail
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    told = tail.stream(name, place, partial(door_of(request).token, request))
    return StreamingResponse(told, media_type="text/event-stream", headers=headers)


@router.post("/studies/{name}/exports", status_code=202, tags=["jobs"])
def export(name: Name, wanted: Export, service: CurrentService, caller: CurrentCaller) -> JSON:
    """Write a trial to the zoo, as a job."""
    return service.export(caller, name, wanted.model_dump())


@router.get("/studies/{name}/exports", tags=["jobs"])
def exports(
    name: Name,
    service: CurrentService,
    caller: CurrentCaller,
    trial: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
    offset: Offset = 0,
    limit: Limit = 50,
) -> JSON:
    """The exports of a study, or of one trial: what waits, runs, was written and failed, newest first."""
    return service.exports(name, trial, offset, limit)
