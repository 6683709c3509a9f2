"""The password of a database from a file."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from hybrid_nas.parts import located, workspace_of
from hybrid_nas.password import PASSWORD_FILE_VARIABLE
from nas.errors import InvalidInputError
from nas.workspace import STORAGE_VARIABLE

URL = "postgresql+psycopg://nas@db.example.org/nas"
PASSWORD = "a b@:/%?#+ä"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n", encoding="utf-8")
    monkeypatch.setenv(PASSWORD_FILE_VARIABLE, str(path))
    return path


def test_it_completes_a_url_and_is_never_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, _ = located(URL)
    assert sa.make_url(url).password == PASSWORD
    workspace = workspace_of(url)
    assert (workspace.url, workspace.is_default) == ("postgresql+psycopg://nas:***@db.example.org/nas", False)
    monkeypatch.setenv(STORAGE_VARIABLE, URL)
    assert workspace_of(located(None)[0]).storage_words == "", "the environment names it already"


@pytest.mark.parametrize("url", ["sqlite:////a/nas.db", "postgresql+psycopg://nas:own@host/nas"])
def test_a_url_that_needs_none_stays(url: str, file: Path) -> None:
    assert located(url)[0] == url


def test_a_file_that_holds_none_is_refused(file: Path) -> None:
    file.write_text("\n")
    with pytest.raises(InvalidInputError, match="names an empty file; expected the password of the database"):
        located(URL)
    file.unlink()
    with pytest.raises(InvalidInputError, match="NAS_STORAGE_PASSWORD_FILE names a file that cannot be read; make it"):
        located(URL)


@pytest.mark.postgres
def test_a_server_is_opened_with_it(file: Path, empty_postgres_url: str, run_command) -> None:
    whole = sa.make_url(empty_postgres_url)
    file.write_text(f"{whole.password}\n")
    bare = sa.URL.create(whole.drivername, whole.username, None, whole.host, whole.port, whole.database)
    assert run_command("token", "add", "ada", "--role", "user", "--storage", str(bare))[0] == 0
    assert "ada" in run_command("token", "list", "--storage", str(bare))[1]
