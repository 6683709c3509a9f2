"""Tells a URL what happens in a search: its end, a failure, and at most once a minute how its front grew.

A thread of its own sends, so neither a slow nor a dead receiver slows a search. Each message is signed:

    NAS-Signature: t=SECONDS,v1=HEX    HMAC-SHA256 of "SECONDS." and the body
"""

import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import json
import logging
import os
import queue
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from nas.errors import InvalidInputError, NasError, first_line
from nas.records import JSON, Front
from nas.search.events import Ended, FrontGrew, OnEvent, SearchEvent, TrialFinished
from nas.workspace import NOTIFY_KEY_VARIABLE

KEY_FILE_VARIABLE = "NAS_NOTIFY_KEY_FILE"
HOSTS_VARIABLE = "NAS_NOTIFY_HOSTS"
"""Names of hosts, by commas. Where it is set, others are refused, and so are addresses that are not public."""
FRONT_S = 60.0
"""Between two messages about the front."""
TIMEOUT_S = 5.0
"""For a connection, and for each part of an answer."""
PAUSES_S = 1.0, 3.0
"""Before an end or a failure is sent again."""
FLUSH_S = 10.0
"""What the end of a search waits for its last message."""
WAITING = 8
"""Messages that wait at most; later ones are lost."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where messages go to."""

    scheme: str
    host: str
    port: int
    path: str
    key: bytes
    is_fenced: bool
    """Whether its address must be a public one."""

    @classmethod
    def of(cls, url: str) -> Self:
        """The receiver that a URL names, with the key and the hosts of the environment.

        Raises:
            InvalidInputError: if the URL is none of HTTP, holds a name or password, has a host that is not allowed, or
                there is no key.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise _invalid(f"it cannot be read ({error})") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or not url.isprintable():
            raise _invalid("it is no URL of HTTP")
        if parts.username is not None or parts.password is not None:
            raise _invalid("it holds a user or a password, which others would see")
        hosts = os.environ.get(HOSTS_VARIABLE)
        if hosts is not None and parts.hostname not in hosts.lower().split(","):
            raise _invalid(f"the host {parts.hostname} is not allowed here; allowed: {hosts or 'none'}")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, parts.hostname, port, path.replace(" ", "%20"), _key(), hosts is not None)

    def post(self, message: JSON) -> None:
        """Send one message; a redirection is not followed.

        Raises:
            NasError: if it was not accepted; the text names neither path nor key.
        """
        body = json.dumps(message, allow_nan=False).encode()
        headers = {"Content-Type": "application/json", "NAS-Signature": signature(self.key, body, int(time.time()))}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            try:
                connection.sock = self._connected()
                connection.request("POST", self.path, body, headers)
                status = connection.getresponse().status
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise NasError(f"{self.host} cannot be told: {first_line(error)}") from error
        if not 200 <= status < 300:
            raise NasError(f"{self.host} answered {status}")

    def _connected(self) -> socket.socket:
        """A connection to the address that was looked at: a name that is resolved twice may give another."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        addresses = [str(each[4][0]) for each in found]
        private = [address for address in addresses if not is_public(address)]
        if self.is_fenced and private:
            raise NasError(f"{self.host} is at {private[0]}, which is not public; it is not told")
        connection = socket.create_connection((addresses[0], self.port), timeout=TIMEOUT_S)
        if self.scheme == "http":
            return connection
        try:
            return ssl.create_default_context().wrap_socket(connection, server_hostname=self.host)
        except BaseException:
            connection.close()
            raise


def _invalid(problem: str) -> InvalidInputError:
    return InvalidInputError(f"--notify: {problem}; expected such as https://HOST/PATH")


def _key() -> bytes:
    key = os.environ.get(NOTIFY_KEY_VARIABLE, "")
    file = os.environ.get(KEY_FILE_VARIABLE)
    if not key and file:
        try:
            key = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise InvalidInputError(
                f"{KEY_FILE_VARIABLE} names a file that cannot be read; make it readable"
            ) from error
    if not key:
        raise InvalidInputError(
            f"--notify signs what it sends, and there is no key; set {NOTIFY_KEY_VARIABLE}, or {KEY_FILE_VARIABLE} to "
            "a file"
        )
    return key.encode()


def signature(key: bytes, body: bytes, seconds: int) -> str:
    """The header that proves who sent a body, and when.

    Args:
        key: which sender and receiver share.
        body: as sent.
        seconds: since the epoch.
    """
    return f"t={seconds},v1={hmac.new(key, b'%d.' % seconds + body, hashlib.sha256).hexdigest()}"


def is_public(address: str) -> bool:
    """Whether everybody can reach the address: neither loopback, private nor link-local, however it is written."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64 or (inner is not None and not inner.is_global):
            return False
        if ip.ipv4_mapped is not None:
            return not ip.ipv4_mapped.is_multicast
    return ip.is_global and not ip.is_multicast


class Notifier:
    """Sends what a search tells it, in a thread of its own. Its methods return at once and raise nothing."""

    def __init__(self, send: Callable[[JSON], object], study: str, *, front_s: float = FRONT_S) -> None:
        """Begin.

        Args:
            send: delivers a message, or raises NasError.
            study: name of the study.
            front_s: between two messages about the front.
        """
        self._send = send
        self._study = study
        self._front_s = front_s
        self._waiting: queue.Queue[JSON | None] = queue.Queue(WAITING)
        self._front: Front | None = None
        self._has_grown = False
        self._progress: JSON = {}
        self._told_front = -front_s + time.monotonic()
        self.fault = ""
        """Why the last message that was lost was lost; empty where none was."""
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
        self._thread.start()

    def hear(self, event: SearchEvent) -> None:
        """Take in an event of the search."""
        match event:
            case TrialFinished():
                self._progress = {"evaluated": event.evaluated, "budget": event.budget}
            case FrontGrew():
                self._front = event.front
                self._has_grown = True
            case Ended():
                self._put("end", reason=event.reason, complete=event.complete)
        if self._has_grown and time.monotonic() - self._told_front >= self._front_s:
            self._told_front = time.monotonic()
            self._has_grown = False
            self._put("front")

    def failed(self, error: BaseException) -> None:
        """Tell that the search ends with an error."""
        self._put("failure", reason=first_line(error))

    def close(self) -> None:
        """Wait for what is still to be sent, FLUSH_S at most."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(FLUSH_S)
        if self._thread.is_alive():
            self.fault = self.fault or f"no answer within {FLUSH_S:g} s"

    def _put(self, event: str, **more: object) -> None:
        message: JSON = {
            "id": uuid.uuid4().hex,
            "event": event,
            "study": self._study,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            **self._progress,
            **more,
        }
        if self._front is not None:
            message |= {"hypervolume": self._front.hypervolume, "front": _members(self._front)}
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            self.fault = "too many messages wait"

    def _run(self) -> None:
        while (message := self._waiting.get()) is not None:
            self._deliver(message, () if message["event"] == "front" else PAUSES_S)

    def _deliver(self, message: JSON, pauses: Sequence[float]) -> None:
        for pause in (*pauses, None):
            try:
                self._send(message)
                return
            except NasError as error:
                _log.info("notification: %s", error)
                self.fault = str(error)
            if pause is not None:
                time.sleep(pause)


def _members(front: Front) -> list[JSON]:
    return [{"trial_number": member.trial_number, "top1": member.top1, "cost": member.cost} for member in front.members]


@contextlib.contextmanager
def notifying(url: str, study: str, on_event: OnEvent, say: Callable[[str], object]) -> Iterator[OnEvent]:
    """Gives what hears the events of a search and tells them to a URL too.

    Args:
        url: of the receiver.
        study: name of the study.
        on_event: hears every event first.
        say: takes a line where a message was lost.

    Raises:
        InvalidInputError: if the URL cannot be used.
    """
    receiver = Receiver.of(url)
    notifier = Notifier(receiver.post, study)

    def hear(event: SearchEvent) -> None:
        on_event(event)
        notifier.hear(event)

    try:
        yield hear
    except BaseException as error:
        notifier.failed(error)
        raise
    finally:
        notifier.close()
        if notifier.fault:
            say(f"note: --notify lost a message: {notifier.fault}")
