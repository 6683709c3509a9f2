"""Recorded problems by name; those of hybrid_nano stand over the space that was recorded."""

from pathlib import Path

from nas.errors import InvalidInputError
from nas.tabular import problems
from nas.tabular.nano import NANO, open_nano
from nas.tabular.recorded import RecordedProblem

PROBLEMS = (*problems.PROBLEMS, *NANO)


def open_problem(name: str, folder: Path, known: bool) -> RecordedProblem:
    """Open a recorded problem.

    Args:
        folder: with macro.csv.gz, accel_surrogate.npz and accel_front.npz; the others need none.
        known: whether the cost is known before training.

    Raises:
        InvalidInputError: if there is no such problem, or its data are missing or damaged.
    """
    if name not in PROBLEMS:
        raise InvalidInputError(f"unknown problem {name!r}; expected one of {', '.join(PROBLEMS)}")
    if name in NANO:
        from search_spaces.hybrid_layout import HybridLayout  # here, because no other problem needs it

        return open_nano(name, known, HybridLayout)
    return problems.open_problem(name, folder, known)
