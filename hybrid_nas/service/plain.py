"""The plainest form of a request, which programs and browsers send most: read in microseconds, or left to h11.

Whatever may be read in two ways is left: several requests at once, a part of one, a body, an upgrade, a line that goes
on. What is taken here means to h11 exactly the same.
Source: RFC 9110 and 9112, of which this grammar is a part.
"""

import re
from typing import NamedTuple
from urllib.parse import unquote

LONGEST = 8_192
"""Bytes; longer ones are left."""
_REQUEST = re.compile(
    rb"GET (/[!-~]*) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [!-~](?:[ -~]*[!-~])?\r\n)+)"
    rb"\r\n"
)
_LEFT = frozenset((b"content-length", b"expect", b"transfer-encoding", b"upgrade"))
"""Headers that say more than what is asked."""


class PlainRequest(NamedTuple):
    """A GET without a body, whose connection stays open."""

    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    """Names in lower case."""


def plain_request(data: bytes) -> PlainRequest | None:
    """What bytes ask, where they are one whole request in the plainest form; None for all others."""
    found = _REQUEST.fullmatch(data) if len(data) <= LONGEST else None
    if found is None:
        return None
    headers = []
    for line in found[2].split(b"\r\n")[:-1]:
        name, _, value = line.partition(b": ")
        headers.append((name.lower(), value))
    names = [name for name, _ in headers]
    stays_open = all(value.lower() == b"keep-alive" for name, value in headers if name == b"connection")
    if names.count(b"host") != 1 or not stays_open or not _LEFT.isdisjoint(names):
        return None
    path, _, query = found[1].partition(b"?")
    return PlainRequest(unquote(path.decode("ascii")), query, headers)
