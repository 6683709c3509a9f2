"""Files that are written whole or not at all."""

import os
import shutil
from pathlib import Path

import pytest

from nas.errors import InvalidInputError
from nas.files import MIN_FREE_BYTES, check_file, check_folder, give, write_file, write_whole


def test_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "front.csv"
    path.write_text("old")
    write_file(path, "new", (".csv",))
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("front.txt", "ends in '.txt'; expected a file name that ends in .csv or .json"),
        ("front", "ends in ''; expected"),
        ("missing/front.csv", "create the folder first"),
        ("folder.csv", "is a folder; expected a file name"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InvalidInputError, match=message):
        write_file(tmp_path / name, "text", (".csv", ".json"))
    assert list(tmp_path.rglob("*.part")) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "front.csv"
    path.write_text("old")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(InvalidInputError, match="No space left on device"):
        write_file(path, "new", (".csv",))
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights"
    write_whole(path, b"old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new", durable=True)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_what_a_database_is_to_name_is_on_the_disk_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(os, "fsync", lambda _: order.append("fsync"))
    monkeypatch.setattr(Path, "replace", lambda part, path: (order.append("replace"), replace(part, path))[1])
    write_whole(tmp_path / "picture", b"content")
    assert order == ["replace"]
    write_whole(tmp_path / "weights", b"content", durable=True)
    assert order == ["replace", "fsync", "replace"]


def test_a_text_is_given_to_the_output_or_to_a_file_and_said(tmp_path: Path) -> None:
    shown: list[str] = []
    notes: list[str] = []
    give("-", "a,b\n1,2\n", ".csv", show=shown.append, note=notes.append)
    assert (shown, notes) == (["a,b\n1,2"], [])
    file = tmp_path / "front.csv"
    give(str(file), "a,b\n1,2\n", ".csv", show=shown.append, note=notes.append)
    assert file.read_text() == "a,b\n1,2\n"
    assert (len(shown), notes) == (1, [f"wrote {file}"])


def test_a_folder_that_long_work_writes_into_is_tried_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_folder(tmp_path / "not" / "there", "--zoo")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match=r"Not a directory.; give a folder that you may write as --zoo"):
        check_folder(tmp_path / "file" / "here", "--zoo")
    with pytest.raises(InvalidInputError, match="cannot be written"):
        check_folder(Path("/proc/nas"), "--zoo")
    usage = shutil.disk_usage(tmp_path)._replace(free=MIN_FREE_BYTES + 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    check_folder(tmp_path, "--zoo", 2**20)
    with pytest.raises(
        InvalidInputError, match="has 65 MiB left, expected at least 66; make room, or give a folder on"
    ):
        check_folder(tmp_path, "--zoo", 2**21)


def test_a_file_in_a_folder_that_nobody_can_write_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"'/proc/front\.csv' \(.*\); choose a folder that you may write to"):
        check_file(Path("/proc/front.csv"), (".csv",))
