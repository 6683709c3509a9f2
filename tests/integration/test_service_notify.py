"""What receivers hear of real searches of a real service, checked as docs/reference/notifications.md says."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.integration.notified import refusal

ROOT = Path(__file__).resolve().parents[2]
ISOLATED = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3_600)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the searches said, and what was heard."""
    if os.geteuid() or subprocess.run([*ISOLATED, "true"], capture_output=True).returncode:
        pytest.skip("network namespaces cannot be made here")
    folder = tmp_path_factory.mktemp("notified")
    command = [*ISOLATED, sys.executable, "-m", "tests.integration.notified", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3_000)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def heard(found: Any, study: str) -> list[dict[str, Any]]:
    return [json.loads(body) for path, _, body, _ in found["heard"] if path == f"/{study}"]


def test_a_front_and_the_end_are_told(found: Any) -> None:
    code, said, _ = found["good"]
    assert code == 0, said
    front, end = heard(found, "good")
    assert (front["event"], end["event"]) == ("front", "end"), "the front at most once a minute"
    assert (end["study"], end["evaluated"], end["budget"], end["complete"]) == ("good", 2, 2, True)
    assert end["front"] and end["reason"].startswith("budget reached: 2 of 2")


def test_a_failure_is_told(found: Any) -> None:
    first = heard(found, "fails")[0]
    assert first["event"] == "failure"
    assert "non-finite loss" in first["reason"]


def test_the_recipe_of_the_page_proves_every_message(found: Any) -> None:
    assert found["heard"] and {refused for *_, refused in found["heard"]} == {""}
    _, header, body, _ = found["heard"][0]
    assert refusal(header, body.encode() + b" ") == "not from the search"


@pytest.mark.parametrize(
    ("study", "lost"), [("broken", r"hook\.example\.org answered 500"), ("hangs", r"no answer within 10 s|timed out")]
)
def test_a_receiver_that_fails_neither_fails_nor_slows_a_search(study: str, lost: str, found: Any) -> None:
    code, said, took_s = found[study]
    assert code == 0 and f"study {study} is finished, 2 of 2 evaluated" in said
    assert re.search(rf"^note: --notify lost a message: .*({lost})", said, re.MULTILINE), said
    assert took_s < found["good"][2] + 25, "it waits 10 s for the last message, once"


def test_an_end_that_is_refused_is_sent_three_times(found: Any) -> None:
    sent = Counter(message["id"] for message in heard(found, "broken"))
    assert sorted(sent.values()) == [1, 3], "the front once, the end three times"


def test_a_host_is_told_only_where_it_is_allowed_and_public(found: Any) -> None:
    code, said, _ = found["refused"]
    assert code == 2 and "expected one of: hook.example.org, inside.example.org" in said
    code, said, _ = found["inside"]
    assert code == 0 and "inside.example.org is at 127.0.0.1, which is not public; it is not told" in said
    assert heard(found, "inside") == []
