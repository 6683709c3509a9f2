"""What this process leaves to those that it starts: environment, signals, an end with their coordinator."""

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from nas.workspace import NOTIFY_KEY_VARIABLE, STORAGE_VARIABLE, TOKEN_VARIABLE

SECRETS = (STORAGE_VARIABLE, NOTIFY_KEY_VARIABLE, TOKEN_VARIABLE)
"""Variables that no process which this one starts inherits: the storage URL may hold a password, and the environment of
a process is shown to whoever may look at it."""
SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""A Python that is started looks for no module in the current folder, where a signal.py of the user's may lie."""
_NONE: Mapping[str, str | None] = MappingProxyType({})


@contextmanager
def loading_for_good() -> Iterator[None]:
    """Load libraries and data that stay as long as the process.

    No garbage is collected meanwhile, which takes a quarter of the time to import torch and timm, and collections, of
    which each trial makes several, do not look through what was loaded.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def follow_parent() -> None:
    """For a process of a pool: leave Ctrl-C, which reaches the whole group, to the coordinator; end by SIGTERM, and
    with the coordinator.

    The queue of orders never ends for a process whose coordinator was killed: each of them holds both of its ends.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def environment(variables: Mapping[str, str | None] = _NONE) -> Iterator[None]:
    """The environment of processes that are started meanwhile: this one's without SECRETS, with SAFE_PATH and
    `variables`.

    It is put back, because later children must not look like Ray's. Whatever in workers starts a process does so
    within this.

    Args:
        variables: name -> value; None unsets.
    """
    changes = {**dict.fromkeys(SECRETS), **SAFE_PATH, **variables}
    before = {name: os.environ.get(name) for name in changes}
    _set_environment(changes)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def signals_kept() -> Iterator[None]:
    """Ray's core takes SIGTERM when it starts, and leaves it without a handler when it ends; ours, which saves the
    study, comes back. Outside the main thread nobody may touch handlers, Ray neither."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
