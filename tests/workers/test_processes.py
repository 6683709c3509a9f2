"""What started processes inherit, and what this one has back afterwards."""

import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from workers.processes import environment, signals_kept


def test_environment_is_put_back() -> None:
    os.environ["NAS_TEST_SET"] = "before"
    before = dict(os.environ)
    with environment({"NAS_TEST_SET": None, "NAS_TEST_NEW": "inside"}):
        assert "NAS_TEST_SET" not in os.environ
        assert os.environ["NAS_TEST_NEW"] == "inside"
    assert dict(os.environ) == before
    del os.environ["NAS_TEST_SET"]


def test_signal_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signals_kept():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is before


def test_no_process_inherits_the_storage_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_STORAGE", "postgresql://me:secret@host/studies")
    code = "import os; print(os.environ.get('NAS_STORAGE'), os.environ.get('NAS_TEST_NEW'))"
    with environment({"NAS_TEST_NEW": "inside"}):
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "None inside\n"
    assert os.environ["NAS_STORAGE"] == "postgresql://me:secret@host/studies"


def test_no_process_looks_for_modules_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the children of multiprocessing would find this one before Python's own."""
    (tmp_path / "signal.py").write_text("raise SystemExit('a module of the current folder')")
    monkeypatch.chdir(tmp_path)
    with environment(), ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(os.getppid).result() == os.getpid()
