"""The service while its database is away: a real PostgreSQL server that is killed and started again."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hybrid_nas.service import glance
from hybrid_nas.service.settings import Settings
from tests.hybrid_nas.service.server import Client, serving
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

SEARCH = {"space": "conv_only", "budget": 2, "objectives": "top1,macs", "study": "s", "workers": 1}

pytestmark = pytest.mark.postgres


def test_requests_are_told_to_come_again_and_states_are_true_afterwards(
    tmp_path: Path, postgres_server: "PostgresServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glance, "KEPT_S", 1e-9)
    url = postgres_server.new_database()
    program = ("/bin/sh", "-c", "exec sleep 4")
    settings = Settings(storage=url, folder=tmp_path / "service", zoo=tmp_path / "zoo", program=program)
    with serving(settings) as (service, port):
        client = Client(port)
        assert client.post("/studies", SEARCH).status == 201
        eventually(lambda: client.get("/studies/s").json["state"] == "running")
        postgres_server.halt(signal.SIGKILL)
        try:
            for path in ("/studies/s", "/studies", "/health", "/studies/s/front"):
                answer = client.get(path)
                assert (answer.status, int(answer.headers["retry-after"])) == (503, 5), path
                assert "does not answer" in answer.error["message"]
                assert "postgresql" not in answer.error["message"], "where the database is"
                assert url.split(":")[2].split("@")[0].encode() not in answer.body, "the password"
            submission = {**SEARCH, "study": "t"}
            assert client.post("/studies", submission).status == 503
            eventually(lambda: not service.supervisor.works)
        finally:
            postgres_server.start_again()
        eventually(lambda: client.get("/health").status == 200, 10)
        eventually(lambda: client.get("/studies/s").json["state"] == "finished", 10)
        assert [study["name"] for study in client.get("/studies").json["items"]] == ["s"]
        assert client.post("/studies", submission).status == 201
        eventually(lambda: client.get("/health").json["status"] == "ok", 10)
