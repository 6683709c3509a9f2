"""A service of this project, as somebody with a token asks it (docs/reference/service.md)."""

import contextlib
import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from nas.errors import InvalidInputError, NasError, UnavailableError, first_line
from nas.hosts import names_this_machine
from nas.records import JSON
from nas.workspace import TOKEN_VARIABLE

TIMEOUT_S = 30.0
"""For a connection, and between two signs of life."""
PAUSES_S = 0.5, 10.0
"""First and longest pause before a service that was lost is asked again."""
LINE_BYTES = 2**24
PASSING = (429, 502, 503, 504)
"""Answers after which the same request may succeed."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a study."""

    id: str
    """Where a stream that was cut goes on."""
    kind: str
    """state, trial, front or line."""
    data: Any


@dataclass(frozen=True, slots=True)
class Server:
    """One service. Every call is a connection of its own, and no redirection is followed."""

    scheme: str
    host: str
    port: int | None
    prefix: str
    """Path before /api/v1, without a slash at its end."""
    token: str | None

    @classmethod
    def at(cls, url: str, token: str | None) -> "Server":
        """The service at a URL.

        Raises:
            InvalidInputError: if the URL is none of HTTP, or the token cannot be sent, or not in safety.
        """
        expected = "expected such as http://127.0.0.1:8000"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidInputError(f"--server cannot be read ({error}); {expected}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise InvalidInputError(f"--server is no plain URL of HTTP; {expected}, and the token in {TOKEN_VARIABLE}")
        token = (token or "").strip() or None
        if token is not None and not (token.isascii() and token.isprintable()):
            raise InvalidInputError(f"{TOKEN_VARIABLE} holds what no token has; copy it again")
        found = cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"), token)
        if token is not None and parts.scheme == "http" and not names_this_machine(found.authority):
            raise InvalidInputError(
                f"--server is {found}, and {TOKEN_VARIABLE} would cross the network unencrypted; give its https URL, "
                f"or a tunnel: ssh -L 8000:127.0.0.1:8000 {parts.hostname}, then http://127.0.0.1:8000"
            )
        return found

    @property
    def authority(self) -> str:
        """Host and port as a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.prefix}"

    def ask(self, method: str, path: str, body: JSON | None = None) -> Any:
        """One request below /api/v1, and the JSON of its answer.

        Raises:
            InvalidInputError: if the service refuses what was asked.
            UnavailableError: if it cannot be reached, or asks to come again.
            NasError: if it fails, or is no service of this project.
        """
        with self._answer(method, path, body, {}) as response:
            try:
                return json.loads(response.read())
            except ValueError as error:
                raise NasError(f"{self} does not answer as a service of hybrid-nas; look at --server") from error

    def fetch(self, path: str) -> bytes:
        """The bytes of an answer; errors as of `ask`."""
        with self._answer("GET", path, None, {}) as response:
            return response.read()

    def events(self, study: str, after: str = "", *, silence_s: float = TIMEOUT_S) -> Iterator[ServerEvent]:
        """What happens in a study, from the event behind one that was seen; for ever, or until the stream is cut.

        Args:
            study: name of the study.
            after: id of the event; the first trial by default.
            silence_s: how long nothing may come.

        Raises:
            UnavailableError: if it is cut, is silent for so long, or cannot begin.
            NasError: as `ask`.
        """
        given = {"Accept": "text/event-stream", "Last-Event-ID": after} if after else {"Accept": "text/event-stream"}
        with self._answer("GET", f"/studies/{quote(study, safe='')}/events", None, given, silence_s) as response:
            fields: dict[str, str] = {}
            while line := response.readline(LINE_BYTES).decode():
                name, _, value = line.rstrip("\r\n").partition(": ")
                if value and name:
                    fields[name] = value
                elif not name and fields:
                    yield ServerEvent(fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"]))
                    fields = {}
        raise UnavailableError(f"{self} ended the stream")

    @contextlib.contextmanager
    def _answer(
        self, method: str, path: str, body: JSON | None, given: dict[str, str], timeout_s: float = TIMEOUT_S
    ) -> Iterator[http.client.HTTPResponse]:
        kind = http.client.HTTPSConnection if self.scheme == "https" else http.client.HTTPConnection
        headers = {**given, **({} if self.token is None else {"Authorization": f"Bearer {self.token}"})}
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            headers["Content-Type"] = "application/json"
        with contextlib.closing(kind(self.host, self.port, timeout=timeout_s)) as connection:
            try:
                connection.request(method, f"{self.prefix}/api/v1{path}", content, headers)
                response = connection.getresponse()
                if response.status >= 300:
                    raise self._error(response)
                yield response
            except ssl.SSLCertVerificationError as error:
                raise InvalidInputError(
                    f"{self} has a certificate that is not trusted here ({error.verify_message}); give the file of its "
                    "authority in SSL_CERT_FILE"
                ) from error
            except (OSError, http.client.HTTPException) as error:
                raise UnavailableError(f"{self} cannot be reached ({first_line(error)}); is it running?") from error

    def _error(self, response: http.client.HTTPResponse) -> NasError:
        content = response.read(LINE_BYTES)
        try:
            text = str(json.loads(content)["error"]["message"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return NasError(f"{self} answers {response.status}, and not as a service of hybrid-nas; look at --server")
        if response.status == 401:
            return InvalidInputError(f"{text}; set {TOKEN_VARIABLE} to your token")
        if response.status in PASSING:
            return UnavailableError(text)
        return InvalidInputError(text) if response.status < 500 else NasError(text)


def lasting_events(server: Server, study: str, say: Callable[[str], object]) -> Iterator[ServerEvent]:
    """The events of a study, each once, across restarts of the service.

    Args:
        server: the service.
        study: name of the study.
        say: takes a line when the service is lost, and when it is back.
    """
    after = ""
    pause_s = PAUSES_S[0]
    is_lost = False
    while True:
        try:
            for event in server.events(study, after):
                if is_lost:
                    say(f"{server} is back")
                is_lost = False
                pause_s = PAUSES_S[0]
                after = event.id or after
                yield event
        except UnavailableError as error:
            if not is_lost:
                say(f"{error}; asking again until it is back")
            is_lost = True
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSES_S[1])
