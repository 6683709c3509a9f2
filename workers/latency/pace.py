"""How much the pace of a device varies from one sitting to the next: what a single sitting cannot know.

The reference model is timed in every sitting. Its timings are kept per device, in a file of this user's, so that every
process of this user on this host learns from all of them; the file is written only by who holds the lock exclusively.
"""

import contextlib
import json
import math
import time
from pathlib import Path

import numpy as np

from nas.files import write_whole

KEPT = 240
"""Timings in the file, the latest ones."""
APART_S = 60.0
"""Two timings closer than this are one; so the file reaches back for hours of timing and not for minutes."""
PRIOR_SPREAD = 0.02
PRIOR_WEIGHT = 5
"""What counts before anything is known, as if it had been found in so many timings."""
Z = 1.96


class PaceHistory:
    """The timings of one reference on one device.

    Args:
        path: of the file; its folder exists. A missing or damaged file is an empty history: it holds nothing but
            experience.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: list[tuple[float, float]] = []
        try:
            entries = [(float(when), float(seconds)) for when, seconds in json.loads(path.read_text())]
        except (OSError, ValueError, TypeError):
            return
        self._entries = [entry for entry in entries if all(map(math.isfinite, entry)) and entry[1] > 0]

    def __len__(self) -> int:
        return len(self._entries)

    def note(self, reference_s: float, when: float | None = None) -> None:
        """Add a timing of the reference.

        Args:
            when: seconds since the epoch; now by default.
        """
        when = time.time() if when is None else when
        if self._entries and 0 <= when - self._entries[-1][0] < APART_S:
            return
        self._entries = [*self._entries, (when, reference_s)][-KEPT:]
        with contextlib.suppress(OSError):  # a full disk costs experience, not the timing
            write_whole(self._path, json.dumps(self._entries).encode())

    @property
    def spread(self) -> float:
        """Standard deviation of ln(duration) from sitting to sitting, taken between the deciles: a share, 0.03 means 3
        %."""
        if not self._entries:
            return PRIOR_SPREAD
        low, high = np.quantile(np.log([seconds for _, seconds in self._entries]), (0.1, 0.9))
        found = float(high - low) / 2.563  # deciles of the normal distribution lie that many standard deviations apart
        n = len(self._entries)
        return math.sqrt((PRIOR_WEIGHT * PRIOR_SPREAD**2 + n * found**2) / (PRIOR_WEIGHT + n))


def repeatable_interval(median: float, sampled: tuple[float, float], spread: float) -> tuple[float, float]:
    """Where the median of another sitting lies, in about 95 % of the cases.

    A confidence interval says where the true median of this sitting lies. Another sitting has its own pace and its own
    samples, so its median differs from this one by two errors of either kind; independent errors add in squares.

    Args:
        median: of this sitting.
        sampled: its 95 % confidence interval by the samples.
        spread: standard deviation of the logarithm of the pace from sitting to sitting.
    """
    below, above = (math.sqrt(2 * (math.log(end / median) ** 2 + (Z * spread) ** 2)) for end in sampled)
    return median * math.exp(-below), median * math.exp(above)
