"""What the OpenAPI document says of answers, besides the values of those that succeed."""

from typing import Any

from pydantic import BaseModel, ConfigDict

Answers = dict[int | str, dict[str, Any]]


class Fault(BaseModel):
    """What was wrong."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    message: str
    """What was given, what was expected, and what to do."""
    field: str | None
    """The option that it is about."""
    remedy: str | None
    """What to do: the end of the message."""


class Refusal(BaseModel):
    """Every answer that is no success."""

    error: Fault


_REFUSALS = {
    400: "The body cannot be read.",
    401: "There is no token, or none that is valid.",
    403: "The role, or a fence of the service, does not allow it.",
    404: "There is nothing of that name.",
    409: "It does not fit the state in which things are.",
    413: "The body is too large.",
    422: "Something that was given cannot be used.",
    429: "Too many requests; Retry-After says when to come again.",
    503: "The service cannot answer now; Retry-After says when to come again.",
}
REFUSALS: Answers = {status: {"model": Refusal, "description": text} for status, text in _REFUSALS.items()}
"""Every route may answer so."""


def content(media_type: str) -> Answers:
    """A success that is no JSON."""
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}}}


SVG = content("image/svg+xml")
EVENTS = content("text/event-stream")
ZIP = content("application/zip")
