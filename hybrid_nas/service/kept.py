"""Answers that many ask for: computed, encoded and packed once, and kept until something new is recorded."""

import gzip
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Self
from weakref import WeakValueDictionary

from fastapi import Request, Response

KEPT_BYTES = 2**25
"""Bytes of all answers that are kept, packed ones included."""
PACKED_FROM = 1_000
"""Shorter answers fit into a packet as they are."""
PACKING_LEVEL = 1
BESIDE_BYTES = 2_000
"""At most, of what was asked and when: a short answer takes less than its question."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent to everybody who asks the same."""

    body: bytes
    packed: bytes | None
    """The same by gzip; None where that does not pay."""
    tag: str
    """Equal for equal answers: an ETag, without its quotes."""

    @classmethod
    def of(cls, body: bytes) -> Self:
        """The answer of these bytes."""
        packed = gzip.compress(body, PACKING_LEVEL, mtime=0) if len(body) >= PACKED_FROM else None
        return cls(body, packed, hashlib.sha256(body).hexdigest()[:32])

    @classmethod
    def of_json(cls, content: Any) -> Self:
        """The answer of something that JSON can hold."""
        return cls.of(encoded(content))

    @property
    def json(self) -> Any:
        """The content of one that is JSON."""
        return json.loads(self.body)

    @property
    def size(self) -> int:
        """Bytes that it takes, with all that is kept beside it."""
        return len(self.body) + len(self.packed or b"") + BESIDE_BYTES


def encoded(content: Any) -> bytes:
    """JSON as it is sent."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class Answers:
    """The answers that were asked for last. May be used by several threads."""

    def __init__(self) -> None:
        """None is known yet."""
        self._kept: OrderedDict[Hashable, tuple[Hashable, Answer]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self._computing: WeakValueDictionary[Hashable, threading.Lock] = WeakValueDictionary()

    def get(self, key: Hashable, stamp: Hashable, make: Callable[[], Answer]) -> Answer:
        """An answer; of several who ask at once, one computes it.

        Args:
            key: what was asked.
            stamp: changes with what the answer depends on.
            make: computes it.
        """
        known = self._known(key, stamp)
        if known is not None:
            return known
        with self._line(key):
            known = self._known(key, stamp)
            if known is None:
                known = make()
                self._keep(key, stamp, known)
        return known

    def _line(self, key: Hashable) -> threading.Lock:
        """What those wait in who ask the same at once; it lasts as long as they do."""
        with self._lock:
            return self._computing.setdefault(key, threading.Lock())

    def _known(self, key: Hashable, stamp: Hashable) -> Answer | None:
        with self._lock:
            found = self._kept.get(key)
            if found is None or found[0] != stamp:
                return None
            self._kept.move_to_end(key)
            return found[1]

    def _keep(self, key: Hashable, stamp: Hashable, answer: Answer) -> None:
        with self._lock:
            replaced = self._kept.pop(key, None)
            self._size += answer.size - (0 if replaced is None else replaced[1].size)
            self._kept[key] = stamp, answer
            while self._size > KEPT_BYTES:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._size -= dropped.size


def sent(request: Request, answer: Answer, media_type: str = "application/json") -> Response:
    """An answer, packed where the caller can unpack it; nothing of it where the caller has it already."""
    headers = {"etag": f'W/"{answer.tag}"', "cache-control": "private, no-cache", "vary": "Accept-Encoding"}
    if answer.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    body = answer.body
    if answer.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        body = answer.packed
        headers["content-encoding"] = "gzip"
    return Response(body, headers=headers, media_type=media_type)
