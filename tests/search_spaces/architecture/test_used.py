"""What a spec says of its network's parts is what the network asks for."""

from dataclasses import replace

import pytest
import torch

from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.used import onnx_problem, used_mixers, used_parts
from search_spaces.network import backbone, blocks
from search_spaces.network.parts import find_part
from search_spaces.published.families import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_network_asks_for_the_parts_that_its_spec_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = set()

    def noting(folder: str, part: str) -> object:
        asked.add(f"{folder}.{part}")
        return find_part(folder, part)

    monkeypatch.setattr(backbone, "find_part", noting)
    monkeypatch.setattr(blocks, "find_part", noting)
    spec = PRESETS[name].architecture.to_spec()
    with torch.device("meta"):
        backbone.HybridBackbone(spec)
    assert tuple(sorted(asked)) == used_parts(spec)
    assert used_mixers(spec) == tuple(sorted(part[7:] for part in asked if part.startswith("mixers.")))


def test_what_onnxruntime_cannot_run_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "lka", replace(KINDS["lka"], onnx="no operator for it"))
    monkeypatch.setitem(KINDS, "dwconv", replace(KINDS["dwconv"], onnx="other numbers"))
    assert onnx_problem(["full", "lka", "mlp", "dwconv"]) == "lka (no operator for it), dwconv (other numbers)"
    assert onnx_problem(["full", "mbconv", ""]) == ""
