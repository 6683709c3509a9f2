"""Every service here has lock files of its own."""

from pathlib import Path

import pytest

from workers.latency import device_lock


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lock files of these tests alone: nobody else's timing makes them wait."""
    folder = tmp_path / "locks"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(device_lock, "PLACES", (folder,))
    return folder
