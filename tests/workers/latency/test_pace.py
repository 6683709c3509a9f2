"""What a device's earlier timings say about the next one."""

import math
from pathlib import Path

import numpy as np
import pytest

from workers.latency.pace import APART_S, KEPT, PRIOR_SPREAD, PaceHistory, repeatable_interval


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pace.json"


def _filled(path: Path, paces: np.ndarray) -> PaceHistory:
    history = PaceHistory(path)
    for minute, pace in enumerate(paces):
        history.note(float(pace), when=APART_S * minute)
    return history


def test_the_spread_is_that_of_the_timings(path: Path, rng: np.random.Generator) -> None:
    spread = _filled(path, 3e-4 * np.exp(0.05 * rng.standard_normal(KEPT))).spread
    assert spread == pytest.approx(0.05, rel=0.15)
    assert PaceHistory(path).spread == spread, "another process reads the same"


def test_without_experience_a_prior_counts(path: Path) -> None:
    assert PaceHistory(path).spread == PRIOR_SPREAD
    assert 0 < _filled(path, np.full(KEPT, 3e-4)).spread < PRIOR_SPREAD / 4


def test_a_burst_of_timings_is_one(path: Path) -> None:
    history = PaceHistory(path)
    for second in range(10):
        history.note(3e-4, when=float(second))
    assert len(history) == len(PaceHistory(path)) == 1


def test_old_timings_are_forgotten(path: Path) -> None:
    assert len(_filled(path, np.full(KEPT + 10, 3e-4))) == KEPT


@pytest.mark.parametrize("content", ["", "{", "[[1]]", "[1, 2]", '{"a": 1}', "[[1, NaN]]", "[[1, -1]]"])
def test_a_damaged_file_is_an_empty_history(content: str, path: Path) -> None:
    path.write_text(content)
    history = PaceHistory(path)
    assert (len(history), history.spread) == (0, PRIOR_SPREAD)
    history.note(3e-4, when=1.0)
    assert len(PaceHistory(path)) == 1


def test_the_interval_covers_the_next_sitting(rng: np.random.Generator) -> None:
    """Sittings with a pace and samples of their own, as often as promised."""
    spread = 0.03
    error = 0.01
    covered = 0
    for _ in range(2000):
        first, second = np.exp(spread * rng.standard_normal(2) + error * rng.standard_normal(2))
        sampled = first * math.exp(-1.96 * error), first * math.exp(1.96 * error)
        low, high = repeatable_interval(first, sampled, spread)
        covered += low <= second <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)
