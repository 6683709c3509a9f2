"""A real PostgreSQL server that is killed and started again under a search and a finalization with Ray's workers."""

import json
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from db.store import open_store
from tests.integration.test_finalize import COMMAND, record_study
from tests.integration.test_launch_search import finish, ray_processes, start, trials, wait_for_line

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

BUDGET = 8
QUICK = {"rungs": [4], "batch_size": 16, "learning_rate": 0.001}
SEARCH = [
    *("--space", "conv_only", "--budget", str(BUDGET), "--study", "s", "--workers", "2"),
    *("--recipe", "quick.json", "--objectives", "top1,macs"),
]

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(600)]


def go_away(server: "PostgresServer", process: subprocess.Popen[str], number: signal.Signals, for_s: float) -> None:
    server.halt(number)
    try:
        wait_for_line(process, r".*; waiting for up to 300 s, trainings go on")
        time.sleep(for_s)
    finally:
        server.start_again()
    wait_for_line(process, r"the wait is over after ")


def test_a_search_outlives_a_stop_and_a_kill_of_its_server(tmp_path: Path, postgres_server: "PostgresServer") -> None:
    url = postgres_server.new_database()
    (tmp_path / "quick.json").write_text(json.dumps(QUICK))
    process = start(tmp_path, *SEARCH, storage=url)
    wait_for_line(process, r"evaluated 1/")
    go_away(postgres_server, process, signal.SIGINT, 8.0)
    go_away(postgres_server, process, signal.SIGKILL, 1.0)
    code, output = finish(process)
    assert code == 0, output
    assert f"budget reached: {BUDGET} of {BUDGET}" in output
    recorded = trials(url, "s")
    assert [trial.state.name for trial in recorded] == ["COMPLETE"] * BUDGET
    assert len({trial.user_attrs["arch_hash"] for trial in recorded}) == BUDGET
    (file,) = (tmp_path / "runs/logs").glob("s-*.log")
    log = file.read_text()
    assert "retry" not in log, "nothing was trained twice"
    assert ray_processes(tmp_path) == []
    with closing(open_store(url, create=False)) as store:
        assert [facts.trial_number for facts in store.facts("s")] != []
        assert store.check_fronts("s") == []
        assert store.lease("s") is None


def test_a_finalization_outlives_a_kill_of_its_server(tmp_path: Path, postgres_server: "PostgresServer") -> None:
    url = postgres_server.new_database()
    store = record_study(tmp_path, url)
    process = start(tmp_path, *COMMAND, storage=url)
    wait_for_line(process, r"tuning 1/2")
    go_away(postgres_server, process, signal.SIGKILL, 3.0)
    code, output = finish(process)
    assert code == 0, output
    trainings = store.final_trainings("s")
    assert [sum(training.purpose == purpose for training in trainings) for purpose in ("tuning", "final")] == [2, 2]
    assert len({training.key for training in trainings}) == 4
    assert store.final_front("s") is not None
    assert store.lease("s") is None
    store.close()
    assert ray_processes(tmp_path) == []
