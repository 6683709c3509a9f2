"""`serve` and `token` from the command line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_nas.service import commands
from hybrid_nas.service.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_STORAGE", raising=False)


def test_a_token_is_printed_once_listed_and_revoked(run_command) -> None:
    code, out, _ = run_command("token", "add", "ada", "--role", "user")
    assert code == 0
    assert re.fullmatch(r"nas_[\w-]{43}\n", out), "256 bits"
    listed = run_command("token", "list")[1]
    assert re.search(r"^ada +user +20", listed, re.MULTILINE)
    assert out.strip() not in listed
    assert run_command("token", "add", "ada", "--role", "admin")[0] == 2, "there is one"
    assert run_command("token", "revoke", "ada")[0] == 0
    code, _, err = run_command("token", "revoke", "ada")
    assert (code, "has no valid token" in err) == (2, True)
    assert run_command("token", "add", "ada", "--role", "admin")[0] == 0


def test_without_a_token_it_is_not_for_others(run_command) -> None:
    code, _, err = run_command("serve", "--host", "0.0.0.0", "--port", "0")
    assert code == 2
    assert "there is no token yet" in err
    assert "launch.py token add" in err


def test_a_proxy_is_named_by_its_address(run_command) -> None:
    for given in ("*", "proxy.example", "10.0.0.1/8"):
        code, _, err = run_command("serve", "--port", "0", "--proxy", given)
        assert (code, f"--proxy is {given!r}; expected the address of a proxy" in err) == (2, True)


def test_without_the_extra_it_says_what_to_install(run_command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    code, _, err = run_command("serve")
    assert code == 1
    assert "install this project with the extra `service`" in err


def test_a_search_imports_nothing_of_it() -> None:
    program = "import launch, sys; print([name for name in sys.modules if name.startswith(sys.argv[1])])"
    for name in ("hybrid_nas.service", "fastapi", "pydantic", "starlette", "uvicorn", "db.tokens"):
        command = [sys.executable, "-c", program, name]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n", name


@pytest.mark.postgres
def test_searches_and_exports_share_artifacts_where_no_database_lies_beside_them(
    run_command, monkeypatch: pytest.MonkeyPatch, empty_postgres_url: str, tmp_path: Path
) -> None:
    seen: list[Settings] = []
    monkeypatch.setattr(commands, "_serve", lambda settings, listening: (seen.append(settings), listening.close()))
    assert run_command("serve", "--port", "0", "--storage", empty_postgres_url) == (0, "", "")
    [settings] = seen
    assert settings.artifacts == str(tmp_path / "runs/artifacts")
    assert settings.folder == tmp_path / "runs/service"
