"""A real search of a real service on a terminal: across a restart on the same port, and beside one of this terminal."""

import json
import os
import re
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from tests.integration.serve import LAUNCH, Serve
from tests.terminal import Terminal, frames
from tests.waiting import eventually

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3_600)]
BUDGET = 8
"""Enough that the kill comes amid them, however fast the machine is."""
OPTIONS = ["--space=conv_only", f"--budget={BUDGET}", "--objectives=top1,macs", "--workers=1", "--study=s"]
RECIPE = {"rungs": [16], "batch_size": 64, "learning_rate": 0.01}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serve]:
    far = tmp_path / "far"
    far.mkdir()
    server = Serve(far)
    yield server
    server.close()


def test_the_watched_display_is_the_local_one_across_a_restart(server: Serve, tmp_path: Path) -> None:
    recipe = tmp_path / "own.json"
    recipe.write_text(json.dumps(RECIPE))
    words = [sys.executable, str(LAUNCH)]
    watched = Terminal([*words, "submit", *OPTIONS, "--recipe=own.json", "--watch"], tmp_path, server.client)
    eventually(lambda: re.search(rf"^s +[1-9]\d*/{BUDGET} ", _heads(watched.output), re.MULTILINE), 900)
    server.kill()
    eventually(lambda: "asking again until it is back" in watched.output)
    server.start()
    assert watched.wait(900) == 0, watched.output
    assert watched.output.count(f"{server.url} is back") == 1
    assert server.said.count("shown once") == 1, "a token is printed once"
    environment = {name: value for name, value in os.environ.items() if name != "NAS_STORAGE"}
    local = Terminal([*words, *OPTIONS, "--recipe=own.json"], tmp_path, environment)
    assert local.wait(900) == 0, local.output
    here, there = frames(local.output, "s"), frames(watched.output, "s")
    assert here[-1][0].split()[:3] == ["s", f"{BUDGET}/{BUDGET}", "(100%)"]
    assert _ending(here[-1]) == _ending(there[-1])
    worker = r"worker[- ]?\d+: trial \d+: "
    for display in (here, there):
        assert re.search(worker, "\n".join(map("\n".join, display))), "what the worker does is seen"
    assert watched.output.rstrip().endswith(f": {server.ask('/studies/s')['exit_line']}"), watched.output[-500:]


def _heads(output: str) -> str:
    """The first line of every display."""
    return "\n".join(frame[0] for frame in frames(output, "s"))


def _ending(frame: list[str]) -> list[str]:
    """Study, bar, summary and the front with its heading."""
    rows = takewhile(lambda line: re.match(r" +(trial|\d+) +\S", line), frame[3:])
    return [*frame[:3], *rows]
