"""FFCV files for tests."""

from pathlib import Path

import pytest

from tests.workers.data.samples import write_beton


@pytest.fixture
def beton(tmp_path: Path, ffcv: None) -> Path:
    return write_beton(tmp_path / "my set.beton")
