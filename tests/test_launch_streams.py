"""Standard streams of every kind: closed, full, without a reader, of an encoding that lacks what is said."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from db.store import open_store
from tests.recorded.record import unpack
from tests.samples import study_record

LAUNCH = f"{sys.executable} {Path(__file__).parent.parent / 'launch.py'}"
STUDY = "--storage sqlite:///nas.db"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded study, and a database whose study has a name in another script."""
    folder = tmp_path_factory.mktemp("streams")
    unpack(folder)
    store = open_store(f"sqlite:///{folder / 'named.db'}")
    store.create_study(study_record(name="sökning-\u202e数"))
    store.close()
    return folder


def shell(folder: Path, words: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """What a shell runs, with $L for the command line."""
    environment = {name: value for name, value in os.environ.items() if name not in ("NAS_STORAGE", "PYTHONUNBUFFERED")}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", words],
        cwd=folder,
        env={**environment, "L": LAUNCH, **variables},
        capture_output=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (f"$L status {STUDY} >&-", 0),
        (f"$L pareto {STUDY} --csv x.csv <&- >&- 2>&-", 0),
        (f"$L status --study no {STUDY} 2>&-", 2),
        (f"$L status --study recorded {STUDY} | :", 1),
        ("$L --help | :", 1),
        (f"$L status --study no {STUDY} 2>/dev/full", 2),
        (f"$L status --study no {STUDY} 2>&1 | :", 2),
    ],
)
def test_a_stream_that_is_not_there_gives_the_exit_code_and_no_line(folder: Path, words: str, code: int) -> None:
    done = shell(folder, words)
    assert (done.returncode, done.stderr) == (code, b"")


@pytest.mark.parametrize("words", ["$L --help >/dev/full", f"$L pareto {STUDY} --json >/dev/full"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_output_is_one_line(folder: Path, words: str, unbuffered: str) -> None:
    done = shell(folder, words, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr == b"error: the output cannot be written (No space left on device); send it elsewhere\n"


def test_no_file_takes_the_number_of_a_closed_stream(folder: Path) -> None:
    script = "import launch; launch.open_streams(); file = open('n', 'w'); file.write(str(file.fileno() > 2))"
    done = shell(folder, f'{sys.executable} -c "{script}" <&- >&- 2>&-', PYTHONPATH=str(Path(__file__).parent.parent))
    assert done.returncode == 0
    assert (folder / "n").read_text() == "True"


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({}, "sökning-\\u202e数"),
        ({"PYTHONIOENCODING": "ascii"}, "s\\xf6kning-\\u202e\\u6570"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "s\\xf6kning-\\u202e\\u6570"),
        ({"PYTHONIOENCODING": "utf-16"}, "sökning-\\u202e数"),
    ],
)
def test_what_a_stream_cannot_show_is_written_out(folder: Path, variables: dict[str, str], shown: str) -> None:
    done = shell(folder, "$L status --storage sqlite:///named.db", **variables)
    encoding = variables.get("PYTHONIOENCODING", "utf-8")
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown in done.stdout.decode(encoding)


def test_an_argument_that_is_not_utf8_is_one_line(folder: Path) -> None:
    for words in ("--storage $'sqlite:///x\\xff.db'", f"{STUDY} --study $'x\\xff'"):
        done = shell(folder, f"$L status {words}")
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
        assert b"\\udcff" in done.stderr
