"""Traits of a user's own space are refused where they would mislead or end a search."""

import re
from pathlib import Path

import pytest

from nas.errors import InvalidInputError
from nas.protocols import Traits, traits_of
from search_spaces.hybrid_layout import HybridLayout
from search_spaces.own_traits import check_traits
from search_spaces.registry import make_space

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "my_space.py"
SETTING = ("nano", 32, 3, 10)
SIZE = 'Gene("size", (0, 1, 2), True, "")'


def write_space(folder: Path, traits: str) -> str:
    """The example with this expression as its traits."""
    file = folder / "mine.py"
    added = f"""
import itertools
import numpy as np
from nas.protocols import Traits

CALLS = itertools.count()

def changed(rows):
    rows[:, 0] = 0
    return rows[:, :1]

def SPACE(*setting):
    space = my_space(*setting)
    space.traits = {traits}
    return space
"""
    file.write_text(EXAMPLE.read_text(encoding="utf-8") + added, encoding="utf-8")
    return str(file)


@pytest.mark.parametrize(
    ("traits", "message"),
    [
        (
            f"Traits(({SIZE},), lambda rows: rows[:, :1] / 2)",
            "give float64 of the shape (300, 1) for 300 rows; expected a",
        ),
        (f"Traits(({SIZE},), lambda rows: rows)", "give int64 of the shape (300, 3) for 300 rows; expected a numpy"),
        (f"Traits(({SIZE},), lambda rows: rows[:, :1].tolist())", "give list for 300 rows; expected a numpy array"),
        (f"Traits(({SIZE},), lambda rows: rows[:, :1].astype(np.uint64))", "give uint64 of the shape (300, 1) for 300"),
        (f"Traits(({SIZE},), lambda rows: np.zeros((300, 1), int))", "give int64 of the shape (300, 1) for 1 rows"),
        (
            f"Traits(({SIZE},), lambda rows: rows[:, :1] + 1)",
            "levels outside 0 to 2; describe as many values as there are",
        ),
        (f"Traits(({SIZE},), changed)", "change the rows that they are given; let them make new ones"),
        (
            f"Traits(({SIZE},), lambda rows: rows[:, :1] * 0 + next(CALLS) % 2)",
            "or at another call; let them depend on",
        ),
        (f"Traits(({SIZE},), lambda rows: np.arange(len(rows))[:, None] % 3)", "other levels beside other rows, or at"),
        (f"Traits(({SIZE},), lambda rows: {{}}[rows[0, 0]])", "raises KeyError in line"),
        ("Traits((), lambda rows: rows[:, :0])", "expected nas.protocols.Traits(described, levels) with one or more"),
        (
            f"Traits({SIZE}, lambda rows: rows[:, :1])",
            "expected nas.protocols.Traits(described, levels) with one or more",
        ),
        ("42", "are 42; expected nas.protocols.Traits(described, levels)"),
    ],
)
def test_wrong_traits_are_refused_in_one_line(tmp_path: Path, traits: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(message)) as caught:
        make_space(write_space(tmp_path, traits), *SETTING)
    assert "\n" not in str(caught.value)


def test_right_ones_are_taken(tmp_path: Path) -> None:
    space = make_space(write_space(tmp_path, f"Traits(({SIZE},), lambda rows: rows[:, :1])"), *SETTING)
    assert traits_of(space) is not None


def test_equal_networks_need_equal_traits() -> None:
    space = HybridLayout("nano", 32, 1, 10)
    check_traits("hybrid_layout", space)
    space.traits = Traits(space.genes, lambda rows: rows)
    with pytest.raises(InvalidInputError, match="which are one network; give equal networks equal traits"):
        check_traits("hybrid_layout", space)
