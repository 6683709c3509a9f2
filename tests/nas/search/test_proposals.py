"""Limits that no architecture of a space keeps. What is proposed within limits is tested with the loop."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from nas.errors import InvalidInputError
from nas.records import Costs, Genotype
from nas.search.proposals import require_reachable
from tests.doubles import TinyArchitecture, TinySpace


@dataclass(frozen=True)
class Ridge(TinySpace):
    """A descent from the smallest values finds no way down: only one preset is small."""

    def costs(self, architecture: TinyArchitecture) -> Costs:
        sizes = architecture.to_spec()
        size = 1 if (sizes["depth"], sizes["width"]) == (3, 3) else 100 + sizes["depth"] + sizes["width"]
        return Costs(param_count=size, macs=size)

    def presets(self) -> Mapping[str, Genotype]:
        return {"small": {"depth": 3, "width": 3, "kernel": 1}}


@pytest.mark.parametrize("limits", [{}, {"latency_ms": 1e-9}, {"param_count": 1}, {"macs": 100, "param_count": 1}])
def test_what_the_smallest_network_keeps_is_no_fault(limits: dict[str, float]) -> None:
    require_reachable(TinySpace(), limits)


@pytest.mark.parametrize(
    ("limits", "given"),
    [
        ({"macs": 99.0}, "--max-macs 99"),
        ({"param_count": 1.0, "macs": 99.0}, "--max-params 1 and --max-macs 99"),
    ],
)
def test_what_no_network_keeps_is_refused_with_the_smallest_one(limits: dict[str, float], given: str) -> None:
    message = "leaves nothing of the space tiny at scale nano: the smallest network found has 1 parameters and 100 macs"
    with pytest.raises(InvalidInputError, match=f"{given} {message}"):
        require_reachable(TinySpace(), limits)


def test_a_network_off_the_way_down_is_found() -> None:
    require_reachable(Ridge(), {"param_count": 5.0})
    with pytest.raises(InvalidInputError, match="has 1 parameters"):
        require_reachable(Ridge(), {"param_count": 0.5})
