"""Joining a Ray cluster that is there: with the token that it wants, or one line about what is in the way."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import ray

from nas.errors import InvalidInputError
from workers.cluster import looking
from workers.cluster.failures import describe
from workers.cluster.session import INIT_ERRORS, ROOT, init_ray
from workers.processes import environment, signals_kept

CONNECT_TIMEOUT_S = 10.0
LOOK_TIMEOUT_S = 60.0
"""For a process to import Ray and ask the head of a cluster, on a busy host."""
EXPECTED = "expected auto or HOST:PORT of a running cluster, on one of whose nodes this command runs"
_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""The preface of HTTP/2, which the head speaks, and empty settings; it answers with its own (RFC 9113, 3.4)."""
_FRAME_HEAD_BYTES = 9
_HTTP2_SETTINGS = b"\x04"
_NO_HEAD = "what listens there does not answer as the head of a cluster does"
_DEFAULT_TOKEN = "~/.ray/auth_token"


def join_cluster(address: str) -> None:
    """Connect to an existing cluster and ship our packages to it.

    Args:
        address: auto, which means RAY_ADDRESS or else a cluster of this machine, or HOST:PORT.

    Raises:
        InvalidInputError: if no cluster answers there, or it does not let us in; the message says which setting is
            missing and where.
    """
    given = address
    if address == "auto" and os.environ.get("RAY_ADDRESS"):
        address = os.environ["RAY_ADDRESS"]
        given = f"{address} (RAY_ADDRESS)"
    if address != "auto":
        _knock(address, given)
    found = _look(address, given)
    packages = [str(ROOT / name) for name in ("nas", "search_spaces", "workers")]
    try:
        with environment({"RAY_AUTH_MODE": found["mode"], "RAY_ADDRESS": None}), signals_kept():
            # What was shipped comes first; our own folders mean nothing there.
            init_ray([], address=found["address"], runtime_env={"py_modules": packages, "excludes": ["**/__pycache__"]})
    except INIT_ERRORS as error:
        with signals_kept():
            ray.shutdown()
        raise _refusal(given, describe(error)) from error


def _refusal(given: str, problem: str) -> InvalidInputError:
    return InvalidInputError(f"no Ray cluster can be joined at {given!r} ({problem}); {EXPECTED}")


def _knock(address: str, given: str) -> None:
    """Refuse at once where nothing listens; Ray itself tries for minutes."""
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 2**16 and "/" not in host):
        raise InvalidInputError(f"Ray address {given!r} is no address; {EXPECTED}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S) as connection:
            connection.sendall(_HTTP2_HELLO)
            answer = connection.recv(_FRAME_HEAD_BYTES)
    except (OSError, ValueError) as error:
        raise _refusal(given, describe(error)) from error
    encrypted = os.environ.get("RAY_USE_TLS", "0") not in ("0", "false")
    if not encrypted and answer[3:4] != _HTTP2_SETTINGS:
        raise _refusal(given, _NO_HEAD)


def _look(address: str, given: str) -> dict[str, str]:
    """What workers/cluster/looking.py finds.

    Raises:
        InvalidInputError: if something is in the way.
    """
    token = _token_source()
    command = [sys.executable, "-P", looking.__file__, address]
    try:
        with environment():
            looked = subprocess.run(command, capture_output=True, text=True, timeout=LOOK_TIMEOUT_S, check=True)
        found: dict[str, str] = json.loads(looked.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, IndexError, ValueError) as error:
        raise _refusal(given, _NO_HEAD) from error
    if found["problem"]:
        raise _problem(given, found, token)
    return found


def _problem(given: str, found: dict[str, str], token: str | None) -> InvalidInputError:
    copy = "`ray get-auth-token` on the head prints the right one"
    match found["problem"]:
        case "token missing":
            return InvalidInputError(
                f"the Ray cluster at {given!r} demands a token, and none is here: set RAY_AUTH_TOKEN, or "
                f"RAY_AUTH_TOKEN_PATH to a file with it, or write it to {_DEFAULT_TOKEN}; {copy}"
            )
        case "token wrong":
            return InvalidInputError(
                f"the Ray cluster at {given!r} demands another token than that of {token}; correct it: {copy}"
            )
        case "another version":
            return InvalidInputError(
                f"the Ray cluster at {given!r} runs {found['theirs']}, and this command {found['ours']}; "
                "install the same on every node"
            )
        case "no node here":
            return _refusal(given, f"none of its nodes is on this machine; `ray start --address={found['address']}`")
        case "no answer":
            return _refusal(given, _NO_HEAD)
        case _:
            return _refusal(given, "no cluster runs on this machine, and RAY_ADDRESS is not set")


def _token_source() -> str | None:
    """Where Ray takes its token from, in its order; None if there is none.

    Raises:
        InvalidInputError: if the file that is named cannot be read, for which Ray would end the process.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    if path := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        try:
            token = Path(path).read_text(errors="replace").strip()
        except OSError as error:
            raise InvalidInputError(
                f"RAY_AUTH_TOKEN_PATH is {path!r}, and that cannot be read ({error.strerror}); "
                "expected a file with the cluster's token, or the variable not set"
            ) from error
        if not token:
            raise InvalidInputError(f"RAY_AUTH_TOKEN_PATH is {path!r}, which is empty; expected the cluster's token")
        return f"the file {path} (RAY_AUTH_TOKEN_PATH)"
    return f"the file {_DEFAULT_TOKEN}" if Path(_DEFAULT_TOKEN).expanduser().is_file() else None
