"""Browsers: a token is given once, then a cookie that no script reads and no other site sends stands for it."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse

from db.tokens import SESSION
from hybrid_nas.service.auth import COOKIE, CurrentService, check_csrf, door_of, require_own_page

router = APIRouter(include_in_schema=False)


@router.post("/session")
def begin(
    request: Request, token: Annotated[str, Form(max_length=200)], to: Annotated[str, Form(max_length=400)] = "/"
) -> RedirectResponse:
    """Exchange a token for a session, and go on to a page of this service."""
    require_own_page(request)
    answer = RedirectResponse(own_path(to), status_code=303)
    answer.set_cookie(
        COOKIE,
        door_of(request).login(request, token.strip()),
        max_age=int(SESSION.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/session/end")
def end(
    request: Request, service: CurrentService, csrf_token: Annotated[str, Form(max_length=200)]
) -> RedirectResponse:
    """End a session, here and in the database."""
    check_csrf(request, csrf_token)
    service.tokens.end_session(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/", status_code=303)
    answer.delete_cookie(COOKIE)
    return answer


def own_path(text: str) -> str:
    """A path of this service; that of its first page for anything that could lead elsewhere."""
    return text if text.startswith("/") and not text.startswith(("//", "/\\")) else "/"
