"""What other systems lack is hidden from every process: macOS as far as it can be had on Linux, and Windows."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.systems import lacking
from tests.integration.test_launch_search import ray_processes
from tests.test_architecture import name_of, sources, tree

ROOT = Path(__file__).resolve().parents[2]
HIDE = '''
"""Python imports this first, in every process."""
import ctypes, os, resource, select, signal, socket, sys, time

LINUX_ONLY = {
    os: "sched_getaffinity sched_setaffinity pidfd_open eventfd memfd_create splice copy_file_range fdatasync "
    "posix_fadvise posix_fallocate getxattr listxattr setxattr getresuid setresuid O_DIRECT O_PATH O_TMPFILE",
    resource: "RUSAGE_THREAD prlimit",
    select: "epoll",
    signal: "sigtimedwait sigwaitinfo SIGSTKFLT SIGPWR",
    socket: "SO_PEERCRED SO_BINDTODEVICE",
    time: "CLOCK_BOOTTIME pthread_getcpuclockid",
}
for module, names in LINUX_ONLY.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
OURS = {"launch", "hybrid_nas", "nas", "search_spaces", "workers", "db"}
PASSED_ON = {"pathlib", "contextlib", "genericpath", "posixpath", "os", "shutil", __name__}


def require_elsewhere(path):
    """/proc and /sys are there for libraries, which know the system, and not for us."""
    if not isinstance(path, str | bytes | os.PathLike) or not os.fsdecode(path).startswith(("/proc", "/sys")):
        return
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in PASSED_ON:
        frame = frame.f_back
    if frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in OURS:
        raise FileNotFoundError(2, "No such file or directory", os.fsdecode(path))


def hidden(function):
    def guarded(path, *arguments, **options):
        require_elsewhere(path)
        return function(path, *arguments, **options)

    return guarded


os.stat, os.lstat, os.readlink = hidden(os.stat), hidden(os.lstat), hidden(os.readlink)



def watch(event, given):
    if event in ("open", "os.listdir", "os.scandir"):
        require_elsewhere(given[0])


sys.addaudithook(watch)
found = ctypes.CDLL.__getattr__


def of_other_libraries(library, name):
    if name in ("malloc_trim", "prctl", "gettid"):
        raise AttributeError(name)
    return found(library, name)


ctypes.CDLL.__getattr__ = of_other_libraries
'''
READ = """
import sys
import launch, torch, matplotlib.figure, psutil, rich.console, scipy.stats, sqlalchemy
sys.platform = sys.argv.pop(1)
launch.main()
"""
QUICK = ["--space", "hybrid_layout", "--budget", "1", "--workers", "1", "--recipe", "q.json"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide" / "sitecustomize.py").write_text(HIDE)
    (tmp_path / "q.json").write_text('{"rungs": [4], "batch_size": 16, "learning_rate": 0.001}')
    return tmp_path


def python(folder: Path, *words: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'hide'}:{ROOT}"}
    environment.pop("NAS_STORAGE", None)
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_first_commands_do_without_what_only_linux_has(folder: Path) -> None:
    code, output = python(folder, "-c", "import os, time; print(hasattr(os, 'sched_getaffinity'))")
    assert (code, output) == (0, "False\n")
    code, output = python(folder, str(ROOT / "launch.py"), *QUICK)
    assert code == 0 and "budget reached: 1 of 1" in output, output
    assert ray_processes(folder) == []
    for words in (["pareto", "--plot", "front.png"], ["export"]):
        code, output = python(folder, "-c", READ, "darwin", *words)
        assert (code, "rror" in output) == (0, False), output


def test_windows_is_refused_in_one_line(folder: Path) -> None:
    code, output = python(folder, "-c", "import sys; sys.platform = 'win32'; import launch")
    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith("error: this system is Windows (win32), ") and "it runs on Linux and macOS" in output


def test_windows_is_refused_from_python_too(folder: Path) -> None:
    code, output = python(folder, "-c", "import sys; sys.platform = 'win32'; import hybrid_nas.api")
    assert code == 1 and output.splitlines()[-1].startswith("ImportError: this system is Windows")


@pytest.mark.parametrize(("platform", "runs"), [("linux", True), ("darwin", True), ("win32", False), ("cygwin", False)])
def test_systems(platform: str, runs: bool) -> None:
    assert (lacking(platform) is None) == runs


FILES_OF_LINUX = {
    "nas/processes.py": "start times and the boot by psutil's, or unknown",
    "workers/devices.py": "a limit of a container where there is one",
    "workers/latency/target.py": "the name of the processor by platform",
}
"""File of ours -> what it does where /proc or /sys is missing."""


def test_files_of_linux_alone_are_read_where_there_is_another_way() -> None:
    users = set()
    for path in sources():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Constant) and str(node.value).startswith(("/proc", "/sys")):
                users.add(name_of(path))
    assert users == FILES_OF_LINUX.keys()
