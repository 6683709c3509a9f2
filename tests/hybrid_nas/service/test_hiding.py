"""What a search says reaches everybody without the places of its host."""

import sys
from pathlib import Path

from hybrid_nas.server import Server
from hybrid_nas.service.settings import Settings
from tests.hybrid_nas.service.server import Client, serving
from tests.waiting import eventually

PROGRAM = """
import sys
print("note: /srv/nas/runs has little room", flush=True)
sys.exit("error: cannot write /srv/nas/runs/nas.db; make room")
"""


def test_log_events_and_last_line_name_no_place_of_the_host(tmp_path: Path, sqlite_url: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    words = (sys.executable, "-I", str(program))
    settings = Settings(storage=sqlite_url, folder=tmp_path / "service", zoo=tmp_path / "zoo", program=words)
    with serving(settings) as (_, port):
        client = Client(port)
        client.post("/studies", {"space": "conv_only", "budget": 3, "study": "s", "workers": 1})
        eventually(lambda: client.get("/studies/s").json["state"] == "failed")
        logged = client.get("/studies/s/log").json["lines"]
        said = client.get("/studies/s").json["exit_line"]
        told = []
        for event in Server.at(f"http://127.0.0.1:{port}", None).events("s", "", silence_s=30.0):
            if event.kind == "line":
                told.append(event.data["text"])
            if len(told) == 2:
                break
    assert logged[-2:] == ["note: runs has little room", "error: cannot write nas.db; make room"]
    assert said.endswith("error: cannot write nas.db; make room")
    assert told == logged[:2]
    assert "/srv" not in f"{logged} {said} {told}"
