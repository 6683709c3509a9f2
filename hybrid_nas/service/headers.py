"""The headers that every answer has."""

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "content-security-policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
}
_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

Header = tuple[bytes, bytes]


def with_all(headers: list[Header]) -> list[Header]:
    """The headers of an answer and those of every answer, where it has none of that name."""
    given = {name for name, _ in headers}
    return [*headers, *(each for each in _HEADERS if each[0] not in given)]
