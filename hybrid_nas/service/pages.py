"""The pages: the service as a browser shows it. What changes while one looks comes from the routes below /api/v1."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from db.browse import SORTS
from hybrid_nas.service.answers import STATES
from hybrid_nas.service.api.zoo import all_entries, find_entry
from hybrid_nas.service.auth import COOKIE, CurrentCaller, CurrentService, csrf_token
from hybrid_nas.service.callers import Caller
from hybrid_nas.service.events import now
from hybrid_nas.service.forms import form_fields
from hybrid_nas.service.kept import Answer, sent
from hybrid_nas.service.sessions import own_path
from nas.errors import InvalidInputError
from nas.text import cost_axis, cost_in_unit
from search_spaces.architecture.kinds.registry import KINDS

router = APIRouter(include_in_schema=False)

LISTED = 25
"""Studies on a page."""
COMPARED = 8
"""Studies in one plot."""
SHOWN_LINES = 200
STUDY_STATES = ("queued", "running", "stopping", "stopped", "finished", "failed")
TARGET_SETTINGS = ("runtime", "dtype", "batch", "threads", "memory_format", "compile")
STATIC = {
    "page.js": ("nas.reports", ".", "text/javascript"),
    "service.js": ("hybrid_nas.service", "static", "text/javascript"),
    "submit.js": ("hybrid_nas.service", "static", "text/javascript"),
    "service.css": ("hybrid_nas.service", "static", "text/css"),
}
"""File -> (package, folder, media type)."""
Name = Annotated[str, Path(max_length=400)]
Word = Annotated[str, Query(max_length=400)]

_templates = Environment(
    loader=PackageLoader("hybrid_nas.service"),
    autoescape=select_autoescape(),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_templates.filters["segment"] = lambda text: quote(str(text), safe="")
_templates.filters["settings"] = lambda target: ", ".join(
    f"{name} {target[name]}" for name in TARGET_SETTINGS if target.get(name) is not None
)
_templates.filters["sentence"] = lambda text: f"{text[:1].upper()}{text[1:].rstrip('.')}."


@router.get("/")
def studies(
    request: Request,
    service: CurrentService,
    caller: CurrentCaller,
    state: Literal["", "queued", "running", "stopping", "stopped", "finished", "failed"] = "",
    owner: Word = "",
    search: Word = "",
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> Response:
    """Every study, newest first."""
    wanted = {"state": state, "owner": owner, "search": search}
    page = service.studies(**{key: text or None for key, text in wanted.items()}, offset=offset, limit=LISTED)
    return _page(request, caller, "studies.html", page=page, wanted=wanted, states=STUDY_STATES, compared=COMPARED)


@router.get("/submit")
def submit(request: Request, service: CurrentService, caller: CurrentCaller, like: Word = "") -> Response:
    """Where a search is asked for, with the options of an earlier one on demand."""
    caller.require("user")
    given = service.study(like)["options"] if like else {}
    again = {name: value for name, value in given.items() if name != "study"}
    return _page(request, caller, "submit.html", fields=form_fields(service.settings, again))


@router.get("/compare")
def compare(
    request: Request,
    service: CurrentService,
    caller: CurrentCaller,
    study: Annotated[Sequence[str], Query(max_length=500)] = (),
    target: Word = "",
) -> Response:
    """The fronts of several studies in one plot, each on its own target or all on one."""
    names = list(dict.fromkeys(study))
    if len(names) > COMPARED:
        raise InvalidInputError(f"{len(names)} studies are chosen; one plot holds at most {COMPARED} fronts")
    chosen = [service.study(name) for name in names]
    recorded = [each["name"] for each in chosen if each["recorded"]]
    shared = _shared([service.targets(name) for name in recorded])
    if target and target not in shared:
        raise InvalidInputError(f"{target} is no target of all of them; compare them on one that all were timed on")
    objectives = {each["cost_objective"] for each in chosen if each["recorded"]}
    if target:
        objectives = {"latency_ms"}
    axis = _axis(objectives.pop()) if len(objectives) == 1 else None
    values: dict[str, Any] = {"chosen": chosen, "axis": axis, "targets": shared, "target": target}
    return _page(request, caller, "compare.html", **values)


@router.get("/studies/{name}")
def study(request: Request, name: Name, service: CurrentService, caller: CurrentCaller) -> Response:
    """One study, live."""
    found = service.study(name)
    return _page(
        request,
        caller,
        "study.html",
        study=found,
        after=now(service, name),
        lines=service.log(name, SHOWN_LINES),
        may_act=_may_act(caller, found["owner"]),
        mixers=list(KINDS),
        trial_states=STATES,
        sorts=list(SORTS),
        axis=_axis(found["cost_objective"]),
        targets=service.targets(name) if found["recorded"] else [],
        has_finalists=found["recorded"] and service.store.final_front(name) is not None,
        may_delete=_may_act(caller, found["owner"]) or caller.is_admin,
    )


@router.get("/studies/{name}/trials/{number}")
def trial(
    request: Request,
    name: Name,
    number: Annotated[int, Path(ge=0, le=2**31 - 1)],
    service: CurrentService,
    caller: CurrentCaller,
) -> Response:
    """One trial of a study."""
    found = service.study(name)
    return _page(
        request,
        caller,
        "trial.html",
        study=found,
        trial=service.trial(name, number),
        axis=_axis(found["cost_objective"]),
        may_export=_may_act(caller, found["owner"]) or (found["owner"] is None and caller.role != "viewer"),
    )


@router.get("/zoo")
def zoo(request: Request, service: CurrentService, caller: CurrentCaller) -> Response:
    """The exported networks."""
    return _page(request, caller, "zoo.html", entries=all_entries(service.settings.zoo))


@router.get("/zoo/{name}")
def entry(request: Request, name: Name, service: CurrentService, caller: CurrentCaller) -> Response:
    """One exported network with its card."""
    return _page(request, caller, "entry.html", entry=find_entry(service.settings.zoo, name))


@lru_cache
def _static(name: str) -> Answer:
    package, folder, _ = STATIC[name]
    return Answer.of((files(package) / folder / name).read_bytes())


@router.get("/static/{name}")
def static(request: Request, name: Name) -> Response:
    """Script and style; nothing of them is anybody's own."""
    if name not in STATIC:
        return Response(status_code=404)
    return sent(request, _static(name), STATIC[name][2])


@router.get("/login")
def login(request: Request, to: Word = "/") -> Response:
    """Where a token is given once."""
    return _page(request, None, "login.html", to=own_path(to), problem="")


def refusal(request: Request, status: int, line: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as a page; who has no session is asked for a token."""
    is_looking = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if status == 401 and is_looking:
        return RedirectResponse(f"/login?to={quote(request.url.path)}", status_code=303)
    if request.url.path == "/session":
        answer = _page(request, None, "login.html", status, to="/", problem=line)
    else:
        what, _, remedy = line.partition("; ")
        answer = _page(request, None, "error.html", status, what=what, remedy=remedy)
    answer.headers.update(headers or {})
    return answer


def _page(request: Request, caller: Caller | None, template: str, status: int = 200, **values: Any) -> Response:
    text = _templates.get_template(template).render(
        caller=caller,
        has_session=COOKIE in request.cookies and caller is not None,
        csrf_token=csrf_token(request),
        **values,
    )
    headers = {"cache-control": "no-store"}
    return Response(text, status, headers, media_type="text/html")


def _shared(lists: Sequence[Sequence[str]]) -> list[str]:
    """What stands in all of the lists, in the order of the first."""
    if not lists:
        return []
    common = set(lists[0]).intersection(*lists[1:])
    return [each for each in lists[0] if each in common]


def _axis(objective: str | None) -> dict[str, Any]:
    """What the script needs to draw a cost: objective, name with unit, and the unit's value."""
    if objective is None:
        return {"objective": "", "name": "cost", "unit": 1.0}
    return {"objective": objective, "name": cost_axis(objective), "unit": 1 / cost_in_unit(objective, 1.0)}


def _may_act(caller: Caller, owner: str | None) -> bool:
    """Whether buttons that change a study are of use to the caller."""
    return owner is not None and caller.role != "viewer" and (caller.is_admin or caller.name == owner)
