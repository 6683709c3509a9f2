"""Every space at several scales keeps the contract."""

import pytest

from nas.protocols import SearchSpace
from search_spaces.registry import make_space
from tests.contracts.space_contract import SpaceContract

SETTINGS = (
    ("hybrid_layout", "nano", 32),
    ("hybrid_layout", "nano", 64),
    ("hybrid_layout", "mobile", 224),
    ("hybrid_layout", "base", 256),
    ("conv_only", "nano", 32),
    ("conv_only", "tiny", 224),
)


class TestSpaces(SpaceContract):
    @pytest.fixture(params=SETTINGS, ids=lambda setting: "-".join(map(str, setting)))
    def space(self, request: pytest.FixtureRequest) -> SearchSpace:
        name, scale, image_size = request.param
        return make_space(name, scale, image_size, 3, 10)
