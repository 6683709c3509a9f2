"""The commands of docs/guide/service.md, as they stand there: backup and restore while a search runs, and Slurm's."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.integration.serve import LAUNCH, Serve
from tests.postgres_server import PostgresServer
from tests.waiting import eventually

GUIDE = (LAUNCH.parent / "docs/guide/service.md").read_text(encoding="utf-8")
ISOLATED = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
OPTIONS = ["--space=conv_only", "--objectives=top1,macs", "--workers=1", "--recipe=own.json"]
RECIPE = '{"rungs": [16], "batch_size": 64, "learning_rate": 0.01}'

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3_600)]


def blocks(heading: str) -> list[list[str]]:
    """The commands of each block below a heading."""
    [part] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", GUIDE, re.DOTALL | re.MULTILINE)
    found = re.findall(r"```console\n(.*?)```", part, re.DOTALL)
    return [re.findall(r"^\$ (.*)$", block, re.MULTILINE) for block in found]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Environment of the service, and what replaces the address of the guide."""
    if request.param == "sqlite":
        if shutil.which("sqlite3") is None:
            pytest.skip("needs the command sqlite3")
        return {"environment": {}, "name": "sqlite", "path": os.environ["PATH"], "url": ""}
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()
    plain = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    path = f"{server.binaries}:{os.environ['PATH']}"
    if shutil.which("pg_dump", path=path) is None:
        pytest.skip("needs the command pg_dump")
    return {"environment": {"NAS_STORAGE": url}, "name": "postgres", "path": path, "url": plain}


@pytest.fixture
def shell(database: dict[str, Any], tmp_path: Path) -> Callable[..., str]:
    """Runs commands of the guide in the folder of the service; gives what they print."""

    def run(command: str, **more: str) -> str:
        command = command.replace("python launch.py", f"{sys.executable} {LAUNCH}")
        command = command.replace("postgresql://nas@db.example.org/nas", database["url"])
        environment = {**os.environ, "PATH": database["path"], **database["environment"], **more}
        words = ["bash", "-euc", command]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_backup_of_a_running_search_is_restored_and_goes_on(
    database: dict[str, Any], shell: Callable[..., str], tmp_path: Path
) -> None:
    copy, dump, restore, load = blocks("Backup and restore")
    if database["name"] == "postgres":
        copy[1], restore[0] = dump[0], load[0]
    (tmp_path / "own.json").write_text(RECIPE)
    server = Serve(tmp_path, **database["environment"])
    try:
        launch = f"{sys.executable} {LAUNCH}"
        ask = {name: server.client[name] for name in ("NAS_SERVER", "NAS_TOKEN")}
        shell(f"{launch} submit --study=s --budget=8 {' '.join(OPTIONS)}", **ask)
        eventually(lambda: server.ask("/studies/s")["evaluated"] >= 2, 900)
        for command in copy:
            shell(command)
        eventually(lambda: server.ask("/studies/s")["state"] == "finished", 900)
        server.kill()
        for command in restore:
            said = shell(command)
        assert int(re.findall(r"(\d+) of 8", said)[0]) in range(2, 8), said
        assert "the recorded front equals the facts" in shell(f"{launch} status --study s")
        server.start()
        assert "s is finished, 8 of 8 evaluated" in shell(f"{launch} watch s --quiet", **ask)
        said = shell(f"{launch} status --study s")
        assert "the recorded front equals the facts" in said and "8 of 8" in said
        assert "wrote " in shell(f"{launch} export --study s --pick knee --zoo zoo"), "with its weights"
    finally:
        server.close()


def test_the_job_for_slurm_searches_on_one_node(tmp_path: Path) -> None:
    [script] = re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)
    checks = ["shellcheck", "-"] if shutil.which("shellcheck") else ["bash", "-n"]
    checked = subprocess.run(checks, input=script, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    if os.geteuid() or subprocess.run([*ISOLATED, "true"], capture_output=True).returncode:
        pytest.skip("network namespaces cannot be made here")
    for given, smaller in (
        ("hybrid_layout --budget 1000", "conv_only --budget 2 --objectives top1,macs"),
        ("--workers 32", "--workers 1"),
    ):
        assert given in script
        script = script.replace(given, smaller)
    (tmp_path / "launch.py").symlink_to(LAUNCH)
    (tmp_path / "job").write_text(script)
    (tmp_path / "hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as folder:  # Ray's sockets need a short path
        environment = {**os.environ, "HOME": folder, "RAY_TMPDIR": folder, "SLURM_NNODES": "1", "SLURMD_NODENAME": "me"}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        isolated = "ip link set lo up && mount --bind hosts /etc/hosts && exec bash job"
        words = [*ISOLATED, "sh", "-c", isolated]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1_200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "budget reached: 2 of 2" in done.stdout
