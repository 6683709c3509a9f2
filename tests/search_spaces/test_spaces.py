"""Every space at several scales keeps the contract, and so does the example of a space of one's own."""

from pathlib import Path

import pytest

from tests.contracts.space_contract import SpaceContract

EXAMPLE = str(Path(__file__).parents[2] / "docs" / "examples" / "my_space.py")
SPACES = (
    ("hybrid_layout", "nano", 32),
    ("hybrid_layout", "nano", 64),
    ("hybrid_layout", "mobile", 224),
    ("hybrid_layout", "base", 256),
    ("conv_only", "nano", 32),
    ("conv_only", "tiny", 224),
    (EXAMPLE, "nano", 32),
    (EXAMPLE, "base", 224),
)


@pytest.mark.parametrize(
    ("given", "setting"),
    [pytest.param(name, (scale, size), id=f"{Path(name).stem}-{scale}-{size}") for name, scale, size in SPACES],
)
class TestSpaces(SpaceContract):
    pass
