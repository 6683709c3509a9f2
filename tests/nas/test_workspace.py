"""Where files lie, and the words for them."""

import logging
from pathlib import Path

import pytest

from nas.errors import InvalidInputError
from nas.workspace import Workspace, open_log, study_folder


def test_files_lie_beside_the_database() -> None:
    workspace = Workspace(Path("runs"), "sqlite:///runs/nas.db", is_default=True)
    assert workspace.artifacts == Path("runs/artifacts")
    assert workspace.log_file("s", "0123456789") == Path("runs/logs/s-01234567.log")
    assert (workspace.study_words("s"), workspace.artifacts_words) == ("--study s", "")


def test_words_name_what_is_not_the_default() -> None:
    workspace = Workspace(Path("my runs"), "sqlite:///my runs/nas.db", False, "elsewhere")
    assert workspace.study_words("a study") == "--study 'a study' --storage 'sqlite:///my runs/nas.db'"
    assert workspace.artifacts_words == " --artifacts elsewhere"
    same = Workspace(Path("runs"), "sqlite:///runs/nas.db", True, "runs/artifacts")
    assert same.artifacts_words == "", "what lies there anyway needs no word"


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(InvalidInputError, match=r"cannot write the log file .*; search in a folder that you may write"):
        open_log(tmp_path / "logs" / "s.log")


def test_a_line_that_cannot_be_written_is_lost_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    handler = open_log(Path("/dev/full"))
    handler.emit(logging.LogRecord("nas", logging.INFO, "", 0, "a line", None, None))
    handler.close()
    assert capsys.readouterr().err == ""


def test_studies_of_one_name_have_folders_of_their_own() -> None:
    assert study_folder("s", "0123456789abcdef" * 2) == "s-01234567"
    assert study_folder("s", "89abcdef01234567" * 2) == "s-89abcdef"
