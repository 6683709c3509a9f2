"""Every option that is a path, or holds one, takes it in the same way: `~`, the current folder, what no file can be."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybrid_nas import api
from nas.errors import InvalidInputError
from nas.files import user_file, user_folder, user_path
from tests.recorded.record import unpack
from workers.training.distillation import locate
from workers.training.recipes import recipe_of

Command = Callable[..., tuple[int, str, str]]
STORAGE = ("--storage", "sqlite:///~/my runs/nas.db")
SEARCH = ("--space", "hybrid_layout", "--budget", "1")
WRITING = [
    ("x.json", ("pareto", *STORAGE, "--json", "~/x.json")),
    ("x.csv", ("pareto", *STORAGE, "--csv", "~/x.csv")),
    ("x.svg", ("pareto", *STORAGE, "--plot", "~/x.svg")),
    ("x.html", ("pareto", *STORAGE, "--html", "~/x.html")),
    ("x.json", ("explain", *STORAGE, "--json", "~/x.json")),
    ("x.html", ("explain", *STORAGE, "--html", "~/x.html")),
    ("zoo/index.json", ("export", *STORAGE, "--zoo", "~/zoo", "--artifacts", "~/my runs/artifacts", "--name", "e")),
]
"""File in the home, and the command that writes it."""
READING = [
    (0, ("status", *STORAGE)),
    (0, ("spaces", "--space", "conv_only", "--data", "folder:~/images")),
    (2, ("spaces", "--space", "~/space.py")),
    (2, ("dashboard", *STORAGE, "--artifacts", "~/gone")),
    (2, ("bench", "--problem", "macro", "--data", "~/gone")),
    (2, ("spaces", "--space", "conv_only", "--data", "beton:~/images")),
    (2, (*SEARCH, "--data", "cifar10:~/gone")),
    (2, ("import-weights", "~/gone.pth", "--preset", "groupmixformer_tiny")),
    (2, ("pack", "folder:~/images", "~/gone/x.beton")),
]
"""Exit code, and a command that says where it looked."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the user, with a recorded study and some images; the current folder is another one."""
    home = tmp_path / "home"
    unpack(home / "my runs")
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (home / "images" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(home / "images" / name / "1.png")
    (home / "space.py").write_text("SPACE = 0")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("NAS_STORAGE", raising=False)
    return home


@pytest.mark.parametrize(("file", "arguments"), WRITING)
def test_what_is_written_to_the_home_lies_there(
    home: Path, run_command: Command, file: str, arguments: tuple[str, ...]
) -> None:
    code, _, err = run_command(*arguments)
    assert code == 0, err
    assert (home / file).is_file()
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(("expected", "arguments"), READING)
def test_what_is_read_from_the_home_is_looked_for_there(
    home: Path, run_command: Command, expected: int, arguments: tuple[str, ...]
) -> None:
    code, _, err = run_command(*arguments)
    assert code == expected, err
    assert code == 0 or (str(home) in err and err.count("\n") == 1)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [(*SEARCH, "--recipe", "~/recipe.json"), *(words for _, words in (*WRITING, *READING))]
)
def test_the_home_of_nobody_is_one_line(home: Path, run_command: Command, arguments: tuple[str, ...]) -> None:
    strange = [word.replace("~/", "~no-such-user/") for word in arguments]
    code, out, err = run_command(*strange)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "begins with the home of a user who has none here" in err
    assert list(Path().iterdir()) == []


def test_the_variable_for_the_database_is_read_alike(
    home: Path, run_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS_STORAGE", STORAGE[1])
    code, out, err = run_command("status")
    assert (code, err) == (0, "")
    assert "recorded" in out
    assert [summary.study.name for summary in api.studies()] == ["recorded"]
    assert api.open_study().workspace.storage_words == "", "the variable names it already"


def test_a_default_that_cannot_be_used_is_in_nobodys_way(
    home: Path, run_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS_STORAGE", "sqlite:///~no-such-user/nas.db")
    assert run_command("status", "--study", "recorded", *STORAGE)[0] == 0
    assert run_command("spaces", "--space", "conv_only")[0] == 0
    assert "begins with the home of a user" in run_command("status")[2]


def test_a_handle_stays_where_it_was_opened(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    study = api.open_study(storage="sqlite:///my runs/nas.db", artifacts="my runs/artifacts")
    monkeypatch.chdir(tmp_path)
    assert study.status().problems == ()
    assert study.pareto().html("~/front.html") == home / "front.html"
    assert study.export(zoo="~/zoo", name="e").folder == home / "zoo" / "e"


def test_a_name_that_begins_with_a_tilde_can_be_written_so(
    home: Path, run_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_command("pareto", *STORAGE, "--csv", "./~x.csv", "--html", "./~/x.html")[0] == 2
    Path("~").mkdir()
    code, _, err = run_command("pareto", *STORAGE, "--csv", "./~x.csv", "--html", "./~/x.html")
    assert code == 0, err
    assert sorted(str(path) for path in Path().rglob("*.*")) == ["~/x.html", "~x.csv"]


def test_a_recipe_is_read_from_the_home(home: Path) -> None:
    (home / "recipe.json").write_text('{"rungs": [4], "batch_size": 16, "learning_rate": 0.001}')
    assert recipe_of("~/recipe.json").rungs == (4,)


def test_a_teacher_is_looked_for_in_the_home(home: Path) -> None:
    assert locate("~/images") == f"local-dir:{home / 'images'}"
    assert locate("local-dir:~/gone") == f"local-dir:{home / 'gone'}"
    assert locate("resnet18.a1_in1k") == "resnet18.a1_in1k"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "names no file"),
        ("a\0b", "names no file"),
        (3, "is of type int; expected a text"),
        ("x" * 300, "cannot be used \\(File name too long\\)"),
        ("circle", "cannot be used \\(Too many levels of symbolic links\\)"),
        ("file/x", "cannot be used \\(Not a directory\\)"),
        (os.fsdecode(b"x\xff"), "is not UTF-8; rename it"),
    ],
)
def test_what_no_file_can_be_called_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("circle").symlink_to("circle")
    Path("file").touch()
    with pytest.raises(InvalidInputError, match=message):
        user_path(given)


def test_what_is_there_is_what_was_expected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for strange in ("/dev/null", str(tmp_path / "pipe")):
        with pytest.raises(InvalidInputError, match="is a device, a pipe or a socket; expected a file name"):
            user_file(strange)
        with pytest.raises(InvalidInputError, match="is no folder"):
            user_folder(strange)
    with pytest.raises(InvalidInputError, match="is a folder; expected a file name"):
        user_file(tmp_path)


def test_a_current_folder_that_is_gone_is_one_line(
    tmp_path: Path, run_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    code, out, err = run_command("status")
    monkeypatch.chdir(tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "begins in the current folder, which is gone; change to another" in err
